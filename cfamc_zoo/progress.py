"""Progress of long work, for a person: a bar in a terminal or a notebook, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

PAUSE = 30.0  # seconds between two lines, at least


class Bar(Protocol):
    """What long work tells of itself."""

    def total(self, n: int) -> None: ...

    def advance(self, n: int = 1, status: str = "") -> None: ...


class Silent:
    """Tells nobody."""

    def total(self, n: int) -> None:
        pass

    def advance(self, n: int = 1, status: str = "") -> None:
        pass


class Lines:
    """A line now and then, where nothing that was written can be drawn over: in a log."""

    def __init__(self, description: str, total: int | None, console: Console):
        self.description, self.whole, self.console = description, total, console
        self.done, self.begun = 0, time.monotonic()
        self.said = self.begun

    def total(self, n: int) -> None:
        self.whole = n

    def advance(self, n: int = 1, status: str = "") -> None:
        self.done += n
        now = time.monotonic()
        if now - self.said >= PAUSE:
            self.said = now
            self._say(status, now)

    def _say(self, status: str, now: float) -> None:
        whole = "" if self.whole is None else f" of {self.whole}"
        parts = [f"{self.description}: {self.done}{whole}", status, f"{now - self.begun:.0f} s"]
        text = ", ".join(part for part in parts if part)
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def shown(description: str, total: int | None) -> Iterator[Bar]:
    """On stderr: a bar where it can be drawn, else a line every half minute."""
    from rich.console import Console

    console = Console(stderr=True)
    # Rich draws in notebooks through ipywidgets, and warns where these are not installed.
    notebook = console.is_jupyter and find_spec("ipywidgets") is not None
    if not (notebook or console.is_terminal):
        yield Lines(description, total, console)
        return
    with drawn(description, total, console) as bar:
        yield bar


@contextmanager
def drawn(description: str, total: int | None, console: Console) -> Iterator[Bar]:
    """A bar with rate and time left, which is gone when the work is done."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(description, total=total, status="", rate="")

        class Drawn:
            def total(self, n: int) -> None:
                progress.update(task, total=n)

            def advance(self, n: int = 1, status: str = "") -> None:
                speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
                rate = f"{speed:,.0f}/s" if speed else ""
                progress.update(task, advance=n, status=status, rate=rate)

        yield Drawn()
