"""What the documentation shows is run: each `$ cfamc-zoo` line and each block of Python."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from PIL import Image

from cfamc_zoo.cli.app import run
from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.training import estimate

SITE = Path(__file__).parents[2] / "docs/site"
PAGES = sorted(SITE.glob("*/*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHORT = ["--set", "max_steps=1", "--set", "views.count=2"]  # added to each training


def examples(page):
    """What a page shows to be typed, in its order: ("python", code) and ("shell", line)."""
    for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "python":
            yield "python", block
        else:
            lines = block.replace("\\\n", " ").splitlines()
            yield from (("shell", line[2:]) for line in lines if line.startswith("$ "))


SHOWING = [page for page in PAGES if list(examples(page))]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of one batch, for the pages that go on from one."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    settings = ["--set", "batch_size=8", *SHORT]
    line = ["train", "cf-amc-ssl-thin", "--data", "cifar10-sample", "-o", str(folder), *settings]
    assert run(line) == 0
    return folder


@pytest.fixture
def workspace(tmp_path, monkeypatch, trained):
    """What pages speak of: images/, photos/ in two classes; where a page does not make it, run."""
    sample = load_dataset("cifar10-sample")
    for row, (image, label) in enumerate(zip(sample.images[:240], sample.labels, strict=False)):
        places = ["images"] if row < 20 else []
        places += [f"photos/{label}"] if label in (3, 5) else []
        for place in places:
            (tmp_path / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(tmp_path / place / f"{row:03}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", SHOWING, ids=lambda page: page.stem)
def test_what_a_page_shows_runs(page, workspace, trained, capsys, monkeypatch):
    monkeypatch.setattr(estimate, "TRIED_SECONDS", 0.0)
    shown = list(examples(page))
    if not any("-o run" in line for _, line in shown):
        shutil.copytree(trained, workspace / "run")
    names = {}
    for kind, text in shown:
        if kind == "python":
            exec(compile(text, str(page), "exec"), names)
        else:
            program, *arguments = shlex.split(text)
            assert program == "cfamc-zoo", text
            if arguments[0] == "train":
                arguments += SHORT
            assert run(arguments) == 0, f"{text}\n{capsys.readouterr().err}"


def test_pages_are_found_and_their_examples_read(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```\n$ cfamc-zoo list\nname\n```\n\n```python\nx = 1\n```\n")
    assert list(examples(page)) == [("shell", "cfamc-zoo list"), ("python", "x = 1\n")]
    assert len(SHOWING) >= 4
