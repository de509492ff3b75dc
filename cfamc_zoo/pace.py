"""How far long work has come, in a line for a log: done, rate and time left."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """What is done of how much, and since when.

    Args:
        description: what is being done.
        total: how much there is; None where that is not known.
        clock: seconds that never go back.
    """

    def __init__(
        self, description: str, total: int | None, clock: Callable[[], float] = time.monotonic
    ):
        self.description, self.total, self.clock = description, total, clock
        self.done, self.status = 0, ""
        self.begun = clock()
        # The rate is measured from the first news on: resumed work begins in the middle.
        self.first: tuple[int, float] | None = None

    def advance(self, n: int = 1, status: str = "") -> None:
        """So much more is done."""
        self.done, self.status = self.done + n, status
        if self.first is None and n:
            self.first = (self.done, self.clock())

    def line(self) -> str:
        """As "attack: 384 of 1,000, 6.1/s, 2 min left, 34.1%"."""
        parts = []
        if self.done:
            whole = "" if self.total is None else f" of {self.total:,}"
            parts.append(f"{self.done:,}{whole}")
        rate = self._rate()
        if rate:
            parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
        if rate and self.total is not None:
            parts.append(f"{in_words((self.total - self.done) / rate)} left")
        else:
            parts.append(f"{in_words(self.clock() - self.begun)} so far")
        if self.status:
            parts.append(self.status)
        return f"{self.description}: {', '.join(parts)}"

    def _rate(self) -> float:
        """A second; 0 where it is not known yet."""
        if self.first is None:
            return 0.0
        done, since = self.first
        passed = self.clock() - since
        return (self.done - done) / passed if passed > 0 else 0.0


def in_words(seconds: float) -> str:
    """As "40 s", "12 min" or "3 h 5 min"."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
