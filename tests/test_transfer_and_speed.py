"""The tool behind what the leaderboard says beside accuracies."""

import json
import shutil
from importlib import resources

import pytest

from cfamc_zoo.datasets import LabelledImages
from cfamc_zoo.zoo.release.folder import GRAPH, MODEL
from tests.test_measure import ROOT, script


@pytest.fixture
def tool(monkeypatch, tmp_path, sample):
    """The tool for a repository in tmp_path, where both CIFAR sets are a few of the sample."""
    few = LabelledImages(sample.images[:60], sample.labels[:60], sample.classes, "few")
    monkeypatch.setenv("CFAMC_ZOO_DATA", str(tmp_path / "data"))
    found = script(ROOT / "tools/transfer_and_speed.py", monkeypatch, tmp_path)
    monkeypatch.setattr(found, "load_dataset", lambda name, split="test": few)
    monkeypatch.setattr(found, "TRIED", 0.05)
    return found


def measured(tool, release, monkeypatch, *parts):
    monkeypatch.setattr("sys.argv", ["transfer_and_speed.py", str(release), "--only", *parts])
    tool.main()
    folder = tool.ROOT / "docs/runs/tiny"
    assert {file.stem for file in folder.iterdir()} == set(parts)
    found = {part: json.loads((folder / f"{part}.json").read_text()) for part in parts}
    for part, values in found.items():
        assert values["command"].endswith(part) or part == "transfer"
        assert values["device"].startswith("cpu: ") and values["versions"] and values["date"]
        assert values["seed"] == 0
    return found


def test_size_and_speed(tool, tiny_release, monkeypatch):
    found = measured(tool, tiny_release, monkeypatch, "size", "latency")
    size, latency = found["size"], found["latency"]
    assert size["bytes"] == sum((tiny_release / name).stat().st_size for name in (MODEL, GRAPH))
    # The backbone's 32 values to 32, with a bias or none, and a scale and shift of each.
    assert 32 * 32 + 2 * 32 <= size["parameters"]["representation"] <= 32 * 32 + 3 * 32
    assert 0 < latency["image_ms"] <= latency["image_ms_median"]
    assert latency["images_per_second"] >= latency["images_per_second_median"] > 0
    assert latency["threads"] == 1


def test_neighbours_are_those_of_the_test_images(tool, tiny_release, monkeypatch):
    found = measured(tool, tiny_release, monkeypatch, "neighbours")["neighbours"]
    # The few are both splits here: an image is its own nearest neighbour, and outvotes chance.
    assert found["knn_accuracy"] > 20
    assert (found["n"], found["knn_k"], found["feature"]) == (60, 20, "representation")


def test_transfer_is_to_the_other_data(tool, tiny_release, monkeypatch, tmp_path):
    folder = tmp_path / "data/cifar100/cifar100"
    folder.mkdir(parents=True)
    relabelled(folder)
    found = measured(tool, tiny_release, monkeypatch, "transfer")["transfer"]
    command = "cfamc-zoo probe -m tiny --data cifar100 --features backbone --seed 0"
    assert (found["command"], found["data"], found["feature"]) == (command, "cifar100", "backbone")
    assert found["low"] < found["test_accuracy"] < found["high"]


def relabelled(folder):
    """Some of CIFAR-10's sample in the layout of CIFAR-100."""
    import pyarrow.parquet as pq

    with resources.as_file(resources.files("cfamc_zoo") / "samples/cifar10-sample.parquet") as file:
        table = pq.read_table(file).slice(0, 80)
    names = ["fine_label" if name == "label" else name for name in table.column_names]
    pq.write_table(table.rename_columns(names), folder / "train-0.parquet")
    shutil.copy(folder / "train-0.parquet", folder / "test-0.parquet")
