"""Progress of long work, for a person: a bar in a terminal or a notebook, lines elsewhere."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, Self

from cfamc_zoo.pace import Pace

if TYPE_CHECKING:
    from rich.console import Console

PAUSE = 30.0  # seconds between two lines


class Bar(Protocol):
    """What long work tells of itself."""

    def total(self, n: int) -> None: ...

    def advance(self, n: int = 1, status: str = "") -> None: ...


Say = Callable[[str], None]  # takes a line for a person
Progress = Callable[[str, int | None], AbstractContextManager[Bar]]  # of a description and a total


class Silent:
    """Tells nobody."""

    def total(self, n: int) -> None:
        pass

    def advance(self, n: int = 1, status: str = "") -> None:
        pass


class Lines:
    """A line now and then, though nothing is told of: a log shows that the work goes on.

    Of the processes of one training run the first alone writes them.

    Args:
        say: takes a line.
    """

    def __init__(self, description: str, total: int | None, say: Callable[[str], object]):
        self._pace, self._say = Pace(description, total), say
        self._ended = threading.Event()
        self._writer = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Self:
        if os.environ.get("RANK", "0") == "0":
            self._writer.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._ended.set()
        if self._writer.ident is not None:
            self._writer.join()

    def _write(self) -> None:
        while not self._ended.wait(PAUSE):
            self._say(self._pace.line())

    def total(self, n: int) -> None:
        self._pace.total = n

    def advance(self, n: int = 1, status: str = "") -> None:
        self._pace.advance(n, status)


@contextmanager
def silent(description: str, total: int | None) -> Iterator[Bar]:
    """Nowhere."""
    yield Silent()


@contextmanager
def shown(description: str, total: int | None) -> Iterator[Bar]:
    """On stderr: a bar where it can be drawn, else a line every half minute."""
    from rich.console import Console

    console = Console(stderr=True)
    # Rich draws in notebooks through ipywidgets, and warns where these are not installed.
    notebook = console.is_jupyter and find_spec("ipywidgets") is not None
    if not (notebook or console.is_terminal):
        say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        with Lines(description, total, say) as lines:
            yield lines
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
