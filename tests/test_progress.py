"""Progress as a person sees it."""

import io

from rich.console import Console

from cfamc_zoo.progress import drawn


def test_in_a_terminal_there_is_a_bar_that_goes_when_the_work_is_done():
    screen = io.StringIO()
    with drawn("Square [l2]", 8, Console(file=screen, force_terminal=True, width=100)) as bar:
        bar.advance(3, "robust 50.0%")
    shown = screen.getvalue()
    assert "Square [l2]" in shown
    assert "3/8" in shown
    assert "robust 50.0%" in shown
    assert shown.endswith("\x1b[2K")
