"""Progress as a person sees it."""

import io

from rich.console import Console

from cfamc_zoo import progress
from cfamc_zoo.progress import Lines, drawn


def test_in_a_log_there_is_a_line_now_and_then(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    log = io.StringIO()
    lines = Lines("Square", 40, Console(file=log))
    for seconds in (10, 19, 2, 29, 1):
        now[0] += seconds
        lines.advance(4, "robust [50.0%]")
    assert log.getvalue().splitlines() == [
        "Square: 12 of 40, robust [50.0%], 31 s",
        "Square: 20 of 40, robust [50.0%], 61 s",
    ]


def test_in_a_terminal_there_is_a_bar_that_goes_when_the_work_is_done():
    screen = io.StringIO()
    with drawn("Square [l2]", 8, Console(file=screen, force_terminal=True, width=100)) as bar:
        bar.advance(3, "robust 50.0%")
    shown = screen.getvalue()
    assert "Square [l2]" in shown
    assert "3/8" in shown
    assert "robust 50.0%" in shown
    assert shown.endswith("\x1b[2K")
