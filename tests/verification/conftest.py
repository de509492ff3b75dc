"""A tiny release whose card was made by `measure`, with few images, for tests to damage."""

import json
import shutil
from dataclasses import replace
from hashlib import sha256

import pytest
import torch
from safetensors.torch import load, save

from cfamc_zoo.cli.app import run
from cfamc_zoo.evaluation.intervals import wilson
from cfamc_zoo.evaluation.protocols import load_protocol
from cfamc_zoo.evaluation.records import Terms, measure
from cfamc_zoo.export.card import renew_card
from cfamc_zoo.zoo.release.config import FileRecord
from cfamc_zoo.zoo.release.folder import PROBE, RESULTS, open_release, write_files
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL, AccuracyRow, read_results, rows_text

IMAGES = 40
CLEAN, PGD = "clean, cifar10-sample", "PGD-2 1/255, cifar10-sample"
PROTOCOL = f"""
text = "{OWN_PROTOCOL}"
[head]
select = "clean"
[[attacks]]
eps = ["1/255"]
settings = {{ steps = 2 }}
"""


def without_head(release, folder):
    """A copy of a release whose head `measure` will make."""
    shutil.copytree(release, folder)
    (folder / PROBE).unlink()
    config = open_release(folder).config
    files = {name: record for name, record in config.files.items() if name != PROBE}
    write_files(folder, replace(config, files=files), {})
    return folder


@pytest.fixture(scope="session")
def measured(made_once, tiny_release):
    """The tiny release with its head and its accuracies; do not write into it."""

    def make(root):
        folder = without_head(tiny_release, root / "tiny")
        (root / "own.toml").write_text(PROTOCOL)
        terms = Terms(torch.device("cpu"), "cifar10-sample", limit=IMAGES)
        renew_card(measure(folder, [load_protocol(str(root / "own.toml"))], terms))

    return made_once("measured", make) / "tiny"


@pytest.fixture
def card(measured, tmp_path):
    """A copy of it."""
    return shutil.copytree(measured, tmp_path / "tiny")


@pytest.fixture
def verify(capsys):
    """Runs `cfamc-zoo verify FOLDER`: exit code, findings, what a person is told.

    Findings are by their subject; of a feature by its check too: ("onnx", "backbone").
    """

    def verify(folder, *options):
        code = run(["verify", str(folder), "--json", *map(str, options)])
        out, err = capsys.readouterr()
        answer = json.loads(out)
        assert answer["holds"] == (code == 0)
        vectors = ("onnx", "golden values")
        return (
            code,
            {
                (f["check"], f["subject"]) if f["check"] in vectors else f["subject"]: f
                for f in answer["findings"]
            },
            err,
        )

    return verify


def repin(folder, *names):
    """The config pins these files as they are now, as one does who may write it."""
    release = open_release(folder)
    found = {name: (folder / name).read_bytes() for name in names}
    files = {name: FileRecord(len(c), sha256(c).hexdigest()) for name, c in found.items()}
    files = release.config.files | files
    release = write_files(folder, replace(release.config, files=files), {})
    renew_card(release)


def change_rows(folder, change):
    """results.json with each accuracy row as `change` has it, pinned anew."""
    rows = read_results(open_release(folder))
    changed = [change(row) if isinstance(row, AccuracyRow) else row for row in rows]
    (folder / RESULTS).write_bytes(rows_text(changed))
    repin(folder, RESULTS)


def change_tensors(folder, name, change):
    """A file of weights with another value, its size as it was."""
    content = (folder / name).read_bytes()
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__")
    (folder / name).write_bytes(save(change(load(content)), metadata))


def claim_more(row):
    """Every image stands, consistently."""
    low, high = (round(100 * end, 4) for end in wilson(row.n, row.n))
    return replace(row, correct="1" * row.n, value=100.0, low=low, high=high)


def failed(findings):
    return {s: f["verdict"] for s, f in findings.items() if f["verdict"] == "does not hold"}
