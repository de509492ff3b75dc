"""A bound on the memory of images that are decoded at a time, however many threads decode."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

PIXELS = 2**27  # 512 MiB of RGB, in which Pillow gives a pixel 4 bytes


class Room:
    """Space for so many pixels, which threads take and give back.

    An image that needs more than all of it is let in when it is alone.
    """

    def __init__(self, pixels: int):
        self.pixels = pixels
        self._taken = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Holds space for an image; waits until there is some. A thread takes one at a time."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + pixels <= self.pixels)
            self._taken += pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= pixels
                self._changed.notify_all()


ROOM = Room(PIXELS)
