"""What the documentation shows is run: each `$ cfamc-zoo` line and each block of Python."""

import re
import shutil
from pathlib import Path

import pytest

from tests.docs.showing import perform
from tests.sweep import sweep

SITE = Path(__file__).parents[2] / "docs/site"
PAGES = sorted([*SITE.glob("*.md"), *SITE.glob("*/*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def examples(page):
    """What a page shows to be typed, in its order: ("python", code) and ("shell", line)."""
    for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            yield "python", block
        else:
            lines = block.replace("\\\n", " ").splitlines()
            yield from (("shell", line[2:]) for line in lines if line.startswith("$ "))


SHOWING = [page for page in PAGES if list(examples(page))]
# Starting Ray takes ten seconds, training twice too; tests of both do it.
SLOW = ("cluster", "retrain")
QUICK = [sweep(page) if page.stem in SLOW else page for page in SHOWING]


@pytest.mark.parametrize("page", QUICK, ids=lambda page: page.stem)
def test_what_a_page_shows_runs(page, workspace, trained, capsys):
    shown = list(examples(page))
    if not any("-o run" in line for _, line in shown):
        shutil.copytree(trained, workspace / "run")
    names = {}
    for kind, text in shown:
        if kind == "python":
            exec(compile(text, str(page), "exec"), names)
        else:
            assert perform(text) == 0, f"{text}\n{capsys.readouterr().err}"


def test_pages_are_found_and_their_examples_read(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```\n$ cfamc-zoo list\nname\n```\n\n```python\nx = 1\n```\n")
    assert list(examples(page)) == [("shell", "cfamc-zoo list"), ("python", "x = 1\n")]
    assert len(SHOWING) >= 4
