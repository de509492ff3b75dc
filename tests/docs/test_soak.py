"""docs/soak.md: what it says is what was measured, and the benchmark still measures it."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from cfamc_zoo.embedding import job

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture
def stream(monkeypatch):
    found = importlib.util.spec_from_file_location("stream", ROOT / "benchmarks/stream.py")
    module = importlib.util.module_from_spec(found)
    # A class finds the module that it is of by name.
    monkeypatch.setitem(sys.modules, "stream", module)
    found.loader.exec_module(module)
    return module


def test_no_run_takes_more_than_the_limit_and_memory_does_not_grow(stream):
    found = json.loads((DOCS / "soak.json").read_text())
    assert (DOCS / "soak.md").read_text() == stream.page(found)
    peaks = {(run["job"], run["images"]): run["peak"] for run in found["runs"]}
    counts = sorted({images for _, images in peaks})
    assert counts[-1] >= 100 * counts[0]
    for kind in stream.KINDS.values():
        # An update keeps some 25 bytes a row of the older output.
        spare = 60 if kind.existing == "update" else 20
        assert peaks[kind.title, counts[-1]] <= peaks[kind.title, counts[0]] + spare
        assert peaks[kind.title, counts[-1]] < stream.LIMIT


def test_every_job_runs_and_is_watched(stream, monkeypatch, tmp_path):
    monkeypatch.setattr(job, "open_for", job.open_for)  # a run puts its own there
    runs = [stream.run(name, 100, tmp_path) for name in stream.KINDS]
    assert [run["kept"] for run in runs] == [0, 90, 0, 90, 0]
    assert all(run["peak"] > 0 for run in runs)
    assert stream.draw([{**run, "curve": [(0, 0, 1), (1, 9, 2)]} for run in runs]).endswith("\n")
