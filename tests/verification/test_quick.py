"""A quick verification lasts about as long for every network, and leaves nothing unsaid."""

import json

import pytest

from cfamc_zoo.verification import accuracies
from cfamc_zoo.zoo.catalogue.registry import bundled_folder

AUTOATTACK = "linear head chosen for robustness; AutoAttack"


@pytest.mark.parametrize(("seconds", "images"), [(0.0, 20), (1e9, 40)])
def test_as_many_images_as_there_is_time_for(seconds, images, card, verify, monkeypatch):
    monkeypatch.setattr(accuracies, "SECONDS", seconds)
    code, findings, _ = verify(card)
    assert code == 0
    measured = [f["numbers"]["images"] for f in findings.values() if f["check"] == "accuracies"]
    assert measured == [images, images]


def test_the_ensemble_is_left_for_the_full_one():
    folder = bundled_folder("resnet18-cifar10-free")
    rows = json.loads((folder / "results.json").read_text())
    commands = {row["command"] for row in rows if row.get("protocol") == AUTOATTACK}
    assert len(commands) == 1
    assert not accuracies._is_quick(accuracies.read_command(commands.pop()))
