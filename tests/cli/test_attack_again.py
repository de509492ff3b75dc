"""The command that a measurement gives with its results measures the same again."""

import dataclasses
import json
import shlex

import pytest
import torch
from PIL import Image
from torch import nn

import cfamc_zoo
from cfamc_zoo.cli.app import run
from cfamc_zoo.evaluation.attacks.choice import Choice
from cfamc_zoo.evaluation.plan import Asked, Plan
from cfamc_zoo.zoo.network.classifier import Classifier
from cfamc_zoo.zoo.release.folder import PROBE
from cfamc_zoo.zoo.release.loading import probe_bytes, save_release
from cfamc_zoo.zoo.threat import L2
from tests.conftest import make_config
from tests.sweep import sweep


@pytest.fixture
def attack(capsys):
    def call(*arguments):
        assert run(["attack", *map(str, arguments), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def place(tmp_path, tiny_release, sample, monkeypatch):
    """A folder to work in whose paths need quoting: images by class, a head and a release."""
    place = tmp_path / "my work's"
    for i in range(12):
        part = place / "pictures" / sample.classes[sample.labels[i]]
        part.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample.images[i]).save(part / f"{i:03}.png")
    torch.manual_seed(1)
    head = Classifier(
        cfamc_zoo.load(str(tiny_release)),
        nn.Linear(32, 10),
        feature="backbone",
        classes=sample.classes,
        data="cifar10",
    )
    (place / "head.safetensors").write_bytes(probe_bytes(head))
    (place / "release").symlink_to(tiny_release)
    monkeypatch.chdir(place)
    return place


COMMANDS = [
    "--limit 12 --steps 2 --restarts 2 --loss margin --start zero --step-size 1/255 --seed 3",
    "--limit 12 --attack apgd --set steps=3 --set loss=dlr --norm l2 --eps 0.1,0.2",
    sweep("--limit 12 --attack square --set queries=7 --eps 1/255"),
    sweep("--limit 12 --attack apgd-t --steps 2 --set targets=2"),
    sweep("--limit 11 --attack apgd-only --eps 1/255"),
    "--data pictures --head knn --features representation --steps 2 --limit 11",
    "--data pictures --probe head.safetensors --steps 2",
    "--limit 7 --attack feature --distance cosine --steps 2 --features representation --seed 2",
]


@pytest.mark.parametrize("given", COMMANDS)
def test_the_command_measures_the_same_again_from_anywhere(
    attack, place, tmp_path, monkeypatch, given
):
    first = attack("-m", "release", *given.split())
    command = shlex.split(first["command"])
    assert command[:2] == ["cfamc-zoo", "attack"]
    monkeypatch.chdir(tmp_path)
    again = attack(*command[2:])
    for row in (*first["results"], *again["results"]):
        del row["seconds"]
    assert first == again, "verdict by verdict, and the very same command"


def test_a_folder_is_named_by_its_whole_path_wherever_one_stands(attack, place, monkeypatch):
    monkeypatch.chdir(place / "pictures")
    found = attack("-m", "../release", "--data", ".", "--steps", 1)
    command = shlex.split(found["command"])
    assert command[command.index("--data") + 1] == str(place / "pictures")
    assert command[command.index("-m") + 1].startswith(str(place))


def test_crops_are_said(attack, place, tmp_path, tiny_release):
    encoder = cfamc_zoo.load(str(tiny_release))
    views = {"count": 8, "scale": [0.2, 1.0], "ratio": [0.75, 1.33]}
    config = make_config(encoder, "cropped")
    config = dataclasses.replace(config, recipe={**config.recipe, "views": views})
    head = {PROBE: (tiny_release / PROBE).read_bytes()}
    save_release(tmp_path / "r", encoder, config, head)
    first = attack("-m", tmp_path / "r", "--crops", 3, "--limit", 8, "--steps", 1, "--seed", 4)
    again = attack(*shlex.split(first["command"])[2:])
    assert again["crops"] == first["crops"] and first["crops"]["count"] == 3
    assert [r["correct"] for r in again["results"]] == [r["correct"] for r in first["results"]]


def test_every_field_that_matters_is_in_the_command(tiny_release):
    """A field that is added must be carried too, or be known not to matter."""
    assert {f.name for f in dataclasses.fields(Plan)} == {
        *("choice", "threats", "seed", "asked"),  # carried
        *("outputs", "batch_size"),  # of no matter to a verdict
    }
    asked = Asked("some/model", "cifar100", "knn", None, "projection", 3, 77)
    assert {f.name for f in dataclasses.fields(Asked)} == {
        *("model", "data", "head", "probe", "features", "crops", "limit")
    }
    plan = Plan(Choice("pgd"), [L2.of("1/255")], 5, asked)
    words = plan.command("", "")
    for value in ("some/model", "cifar100", "knn", "projection", "3", "77", "l2", "1/255", "5"):
        assert value in shlex.split(words)
