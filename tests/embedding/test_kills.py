"""kill -9 before any step on the disk and at any moment: the next try ends the same.

`make test` tries some steps and moments. All steps, and twenty moments that a seed draws:

    CFAMC_ZOO_KILLS=1000 python -m pytest tests/embedding/test_kills.py
    CFAMC_ZOO_MOMENTS=20 CFAMC_ZOO_SEED=7 python -m pytest tests/embedding/test_kills.py
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.sweep import sweep

COUNT = int(os.environ.get("CFAMC_ZOO_KILLS", "5"))
MOMENTS = int(os.environ.get("CFAMC_ZOO_MOMENTS", "2"))
SEED = os.environ.get("CFAMC_ZOO_SEED", "0")
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("output", "existing"),
    [
        ("e.npy", "refuse"),
        ("e/", "replace"),
        ("e.parquet", "update"),
        sweep("e.parquet", "refuse"),
        sweep("e/", "refuse"),
        sweep("e.csv", "replace"),
        sweep("e.jsonl", "replace"),
        sweep("e.npy", "replace"),
        sweep("e/", "update"),
    ],
)
def test_a_killed_job_goes_on_and_ends_with_the_same(
    tiny_release, tmp_path, sample, output, existing
):
    images = tmp_path / "images"
    images.mkdir()
    for i in range(12):
        Image.fromarray(sample.images[i]).save(images / f"{i:02}.png")
    (images / "05.png").write_text("no image")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.embedding.kills", tiny_release, images),
            *(tmp_path / "scratch", output, existing, str(COUNT), str(MOMENTS), SEED),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) >= min(COUNT, 5) + MOMENTS
    for line in lines:
        # At a random moment it may have been over.
        assert line["killed"] or line["step"].startswith("after"), line
        assert line["whole"] and line["same"], line
        if line["again"] == "finished before":
            assert existing == "refuse", line
        else:
            assert line["again"] == 12 and not line["left"], line
