"""No release, however damaged, brings out more than our own refusal.

`make test` reads some hundred mutants. All of a long run, in as many processes as there are cores:

    CFAMC_ZOO_FUZZ=10000 CFAMC_ZOO_FUZZ_SEED=7 python -m pytest tests/fuzz -s

Case N of a seed is the same everywhere; `python -m tests.fuzz.worker RELEASE SCRATCH SEED N 1`
reads it again.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cfamc_zoo.zoo.catalogue.registry import bundled_folder, default_model
from cfamc_zoo.zoo.release.folder import RESULTS, open_release, write_files

COUNT = int(os.environ.get("CFAMC_ZOO_FUZZ", "200"))
SEED = int(os.environ.get("CFAMC_ZOO_FUZZ_SEED", "0"))
ROOT = Path(__file__).parents[2]


@pytest.fixture
def whole_release(tiny_files, tmp_path):
    """With results, which the tiny one lacks."""
    folder = tmp_path / "release"
    folder.mkdir()
    for name, content in tiny_files.items():
        (folder / name).write_bytes(content)
    rows = json.loads((bundled_folder(default_model()) / RESULTS).read_text())[:3]
    write_files(folder, open_release(folder).config, {RESULTS: json.dumps(rows).encode()})
    return folder


def read_mutants(release, scratch, first, count):
    """Outcomes of the cases; one that takes its process down is an outcome too."""
    outcomes = []
    while len(outcomes) < count:
        number = first + len(outcomes)
        worker = [sys.executable, "-m", "tests.fuzz.worker", release, scratch, SEED]
        done = subprocess.run(
            [*map(str, worker), str(number), str(count - len(outcomes))],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        )
        outcomes += [json.loads(line) for line in done.stdout.splitlines()]
        if done.returncode:
            number = first + len(outcomes)
            wrong = [f"ended with {done.returncode}: {done.stderr[-2000:]}"]
            outcomes.append({"number": number, "family": "?", "said": {}, "wrong": wrong})
    return outcomes


def test_nothing_but_our_own_refusals(whole_release, tmp_path):
    memory = Path("/dev/shm")
    scratch = memory if os.access(memory, os.W_OK) else tmp_path
    workers = min(len(os.sched_getaffinity(0)), -(-COUNT // 100))
    size = -(-COUNT // workers)
    with ThreadPoolExecutor(workers) as threads:
        chunks = threads.map(
            lambda first: read_mutants(
                whole_release,
                scratch / f"cfamc-zoo-fuzz-{os.getpid()}-{first}",
                first,
                min(size, COUNT - first),
            ),
            range(0, COUNT, size),
        )
        outcomes = [outcome for chunk in chunks for outcome in chunk]
    counts = Counter(f"{r}: {o}" for outcome in outcomes for r, o in outcome["said"].items())
    sys.stdout.write(json.dumps(dict(sorted(counts.items())), indent=2) + "\n")
    assert len(outcomes) == COUNT
    wrong = [o for o in outcomes if o["wrong"]]
    assert not wrong, f"{len(wrong)} of seed {SEED}:\n{json.dumps(wrong[:5], indent=2)}"
    assert counts["verify: ok"] and counts["verify: ReleaseError"], "both sides are reached"
