"""The one place that prints: results to stdout, everything a person reads to stderr."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from cfamc_zoo.errors import StorageError
from cfamc_zoo.progress import Bar, Lines, drawn

if TYPE_CHECKING:
    from cfamc_zoo.training.loop import Report


PATH = 20  # characters, from which on a cell with separators is taken for a path
ANYTHING = "cfamc-zoo"  # how encoding errors are handled


def result(text: str) -> None:
    """The result, to stdout.

    Raises:
        StorageError: it cannot be written, as to a file on a full disk.
    """
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_stdout()
        raise StorageError(
            f"cannot write to standard output: {error.strerror}; free some space or send it "
            "elsewhere"
        ) from error


def write_anything() -> None:
    """Has both streams take every text, whatever their encoding.

    A pipe on Windows takes cp1252, one in a bare container ASCII: what these lack is written as
    \\xNN. Bytes of file names that are no text go out as they came.
    """
    codecs.register_error(ANYTHING, _encoded)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not what another program has put there
            stream.reconfigure(errors=ANYTHING)


def _encoded(error: UnicodeError) -> tuple[str | bytes, int]:
    with suppress(UnicodeError):
        return codecs.lookup_error("surrogateescape")(error)
    return codecs.lookup_error("backslashreplace")(error)


def drop_stdout() -> None:
    """What is left in stdout's buffer goes nowhere: Python flushes it once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def json_result(value: Any) -> None:
    """One machine-readable object, to stdout."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value)  # the same object in ASCII
    result(text)


def note(text: str) -> None:
    """One line for a person, to stderr; control characters of file names are made visible."""
    sys.stderr.write(_printable(text) + "\n")
    sys.stderr.flush()


def duration(seconds: float) -> str:
    """A time that a person waits, in the unit that fits."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()
) -> None:
    """A table to stdout: drawn for a terminal, tab-separated for a pipe.

    The first column, which names the row, is never broken.

    Args:
        headers: all empty for a table without a header.
        right: indices of the columns that are aligned to the right.
    """
    if not sys.stdout.isatty():
        for row in (headers, *rows):
            result("\t".join(map(_printable, row)))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    drawn = Table(box=SIMPLE_HEAD, show_header=any(headers), show_edge=False, padding=(0, 1, 0, 0))
    for i, header in enumerate(headers):
        justify: Literal["left", "right"] = "right" if i in right else "left"
        drawn.add_column(header, justify=justify, overflow="fold", no_wrap=i == 0)
    for row in rows:
        drawn.add_row(*map(_cell, row))
    Console().print(drawn)


def csv_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table to stdout for other programs: CSV as RFC 4180 has it, but lines end with \\n."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows((headers, *rows))
    result(text.getvalue().removesuffix("\n"))


def _cell(text: str) -> Any:
    """A cell that no markup changes, and that breaks a path where its folders end."""
    from rich.console import Console, ConsoleOptions
    from rich.measure import Measurement
    from rich.text import Text

    printable = _printable(text)
    if os.sep not in text or len(text) < PATH:
        return Text(printable)
    pieces = re.findall(r"[^/\\ ]*[/\\ ]?", printable)

    class _Path:
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
            line = ""
            for piece in pieces:
                if line and len(line + piece) > options.max_width:
                    yield Text(line)
                    line = ""
                line += piece
            yield Text(line)

        def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
            return Measurement(max(map(len, pieces)), len(printable))

    return _Path()


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Bar]:
    """A bar with rate and time left on a terminal's stderr, elsewhere a line every half minute."""
    if not sys.stderr.isatty():
        with Lines(description, total, note) as lines:
            yield lines
        return
    from rich.console import Console

    with drawn(description, total, Console(stderr=True)) as bar:
        yield bar


@contextmanager
def training_progress(name: str) -> Iterator[Callable[[Report], None]]:
    """A bar over batches that shows the loss, its parts, the rate in crops and the time left."""
    from cfamc_zoo.training.run import on_bar

    with progress(name, None) as bar:
        yield on_bar(bar)
