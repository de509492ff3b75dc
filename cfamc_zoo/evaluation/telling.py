"""What a call of the library shows while it works, and what it leaves as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from cfamc_zoo.progress import Bar, Silent, shown

Told = Callable[[int, int, str], object]  # images done, of how many, and what is going on


@contextmanager
def own_draws(device: torch.device, seed: int) -> Iterator[None]:
    """A model that draws does so from the seed; the caller's random state stays as it was."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def bar_of(progress: bool | Told, title: str, total: int) -> Iterator[Bar]:
    """A bar on stderr, a function that is told, or nothing."""
    if callable(progress):
        yield _Telling(progress, total)
    elif progress:
        with shown(title, total) as bar:
            yield bar
    else:
        yield Silent()


class _Telling(Silent):
    """Tells a function."""

    def __init__(self, tell: Told, whole: int):
        self.tell, self.whole, self.done = tell, whole, 0

    def advance(self, n: int = 1, status: str = "") -> None:
        self.done += n
        self.tell(self.done, self.whole, status)
