"""The models in the package are what their cards say."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import cfamc_zoo
from cfamc_zoo.cli.app import run
from cfamc_zoo.datasets import SAMPLE, load_dataset
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.examples import Examples
from cfamc_zoo.evaluation.heads.linear import network_input
from cfamc_zoo.evaluation.robustness import evaluate
from cfamc_zoo.export.card import render_release
from cfamc_zoo.export.parity import measure_parity
from cfamc_zoo.zoo.catalogue.registry import bundled_folder, default_model, find_model, list_models
from cfamc_zoo.zoo.catalogue.resolve import resolve
from cfamc_zoo.zoo.release.folder import CARD, RESULTS
from cfamc_zoo.zoo.release.results import (
    OWN_PROTOCOL,
    accuracies,
    differences,
    read_results,
    rows_text,
    summarize,
)
from cfamc_zoo.zoo.threat import Linf
from tests import inside
from tests.sweep import sweep

ROOT = Path(__file__).parent.parent
BUNDLED = [spec.name for spec in list_models() if spec.bundled]
# The larger ones take minutes.
SMALLEST = [name if name == default_model() else sweep(name) for name in BUNDLED]
AUTOATTACK = "linear head chosen for robustness; AutoAttack"
CPU = torch.device("cpu")
GOLDEN = Path(__file__).parent / "golden.npz"
# How many are attacked here: an image costs the full width twelve times as much.
ATTACKED = {"resnet18-cifar10-free": 20}
THIN = 200


@pytest.fixture(scope="module")
def inputs(sample):
    return torch.from_numpy(sample.images).permute(0, 3, 1, 2).float() / 255


def rows(name, data):
    recorded = read_results(resolve(name))
    own = [r for r in accuracies(recorded) if r.protocol == OWN_PROTOCOL]
    return {(r.metric, r.eps): r for r in own if r.data == data}


def sample_of(name):
    """Of what it was trained on."""
    return load_dataset(resolve(name).config.recipe["data"] + SAMPLE)


def test_there_is_one():
    assert BUNDLED
    assert default_model() in BUNDLED


@pytest.mark.parametrize("name", BUNDLED)
def test_every_file_is_as_pinned_and_the_registry_repeats_the_release(name):
    release, spec = resolve(name), find_model(name)
    release.verify()
    recorded = read_results(release)
    assert spec.results == summarize(recorded)
    assert rows_text(recorded) == release.read(RESULTS), "read and written again, byte for byte"
    config = release.config.to_json()
    assert config["name"] == name
    assert config["architecture"] == spec.architecture
    assert json.loads(json.dumps(config["preprocess"])) == spec.preprocess
    assert config["threat_model"] == spec.threat_model
    assert (release.folder / CARD).read_text() == render_release(release)


@pytest.mark.parametrize("name", BUNDLED)
def test_embeddings_are_the_golden_ones(name, inputs):
    """Vectors of the first images, kept when the model was released."""
    golden = np.load(GOLDEN)[name]
    encoder = cfamc_zoo.load(name)
    np.testing.assert_allclose(encoder(inputs[: len(golden)]).numpy(), golden, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", SMALLEST)
def test_both_back_ends_agree_on_real_images(name, sample):
    recorded = {row.feature: row for row in differences(read_results(resolve(name)))}
    for feature, parity in measure_parity(resolve(name), sample.images[:256]).items():
        assert parity.relative < 1e-5
        assert recorded[feature].n == 256
        assert recorded[feature].value <= recorded[feature].limit


@pytest.mark.parametrize("name", SMALLEST)
def test_attacking_the_sample_gives_what_the_card_says_image_by_image(name):
    """What floating point may change from machine to machine is a few."""
    sample = sample_of(name).first(ATTACKED.get(name, THIN))
    n, labels = len(sample), torch.from_numpy(sample.labels)
    recorded = rows(name, sample.name)
    data = Examples(network_input(sample.images, CPU), labels, len(sample.classes))
    clean, robust = evaluate(
        cfamc_zoo.load_classifier(name), data, Pgd(steps=20), [Linf.of("8/255")]
    )
    for found, said in (
        (clean, recorded["clean accuracy", ""]),
        (robust, recorded["robust accuracy", "8/255"]),
    ):
        stands = [verdict == "1" for verdict in said.correct[:n]]
        different = sum(a != b for a, b in zip(found.correct, stands, strict=True))
        assert different <= max(1, n // 200), said.metric


@pytest.mark.parametrize("name", SMALLEST)
def test_verify_finds_the_claims_to_hold_image_by_image(name, capsys):
    n = min(60, ATTACKED.get(name, THIN))
    assert run(["verify", name, "--limit", str(n), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    compared = [f["numbers"] for f in found if "differing" in f["numbers"]]
    assert len(compared) == 3
    assert {(numbers["images"], numbers["allowed"]) for numbers in compared} == {(n, 1)}
    assert {f["verdict"] for f in found} == {"holds", "left out"}


@pytest.mark.parametrize("name", SMALLEST)
def test_nearest_neighbours_are_far_better_than_those_of_raw_pixels(name, sample, inputs):
    labels = torch.from_numpy(sample.labels)

    def accuracy(vectors):
        distances = torch.cdist(vectors, vectors).fill_diagonal_(float("inf"))
        return (labels[distances.argmin(1)] == labels).float().mean().item()

    features = torch.cat([cfamc_zoo.load(name)(x) for x in inputs.split(100)])
    features = torch.nn.functional.normalize(features, dim=1)
    assert accuracy(features) > 1.3 * accuracy(inputs.flatten(1))


def test_cards_and_tables_are_not_stale():
    done = subprocess.run(
        [sys.executable, ROOT / "docs/generate.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readmes_python_runs(inputs, sample, tmp_path, monkeypatch):
    """Its Python that uses this package, with `images` and `labels` there."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text()
    code, own = re.findall(r"```python\n(import cfamc_zoo.*?|encoder = .*?)```", text, re.DOTALL)
    recorded = accuracies(read_results(resolve("resnet18-cifar10-free")))
    clean, first = [r.correct for r in recorded if r.protocol == AUTOATTACK][:2]
    # What stands takes minutes; these are known, and fall at once.
    fall = [i for i in range(len(sample)) if clean[i] == "1" and first[i] == "0"][:3]
    names = {"images": inputs[fall], "labels": torch.from_numpy(sample.labels[fall])}
    exec(code, names)
    assert names["z"].shape == (3, 512)
    assert names["result"].accuracies[-1].attack == "AutoAttack"
    names["module"] = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten())
    names["photos"] = sample.images[:4].repeat(7, 1).repeat(7, 2)
    exec(own, names)


def test_pull_of_a_bundled_model_needs_no_network_and_prints_its_folder(tmp_path):
    name = default_model()
    command = [sys.executable, "-m", "cfamc_zoo", "pull", name]
    done = subprocess.run(
        [*command, "--dest", tmp_path / "copy"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{tmp_path / 'copy'}\n"
    assert cfamc_zoo.load(str(tmp_path / "copy"))
    assert inside.cfamc_zoo("pull", name).stdout == f"{bundled_folder(name)}\n"
    again = inside.cfamc_zoo("pull", name, "--revision", "v2", code=2)
    assert "part of the package" in again.stderr
