"""`cfamc-zoo attack` as a user calls it: in this process where that is enough."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from html import unescape

import numpy as np
import pyarrow.parquet as pq
import pytest

from cfamc_zoo.cli.app import run
from cfamc_zoo.datasets import load_dataset
from tests.sweep import sweep


@pytest.fixture
def zoo(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments, code=0):
        assert run([str(a) for a in arguments]) == code
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return captured

    return call


def answer(captured):
    return json.loads(captured.out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--norm", "l1"], "unknown norm 'l1'"),
        (["--attack", "autoatack"], "did you mean autoattack"),
        (["--attack", "autoattack", "--steps", "3"], "steps is not for autoattack"),
        (["--attack", "square", "--restarts", "50"], "not for square, which takes queries"),
        (["--attack", "square", "--set", "restarts=50"], "not for square, which takes queries"),
        (["--attack", "apgd", "--start", "zero"], "which takes loss, steps, restarts"),
        (["--attack", "apgd-dlr", "--loss", "ce"], "which takes steps, restarts"),
        (["--distance", "cosine"], "distance is not for pgd"),
        (["--set", "steps"], "is not key=value"),
        (["--set", "steps=5", "--steps", "4"], "given twice"),
        (["--features", "backbone"], "--features is for"),
        (["--attack", "feature", "--head", "knn"], "--head knn is for"),
        (["--attack", "feature", "--restarts", "2"], "takes distance, steps, step_size"),
        (["--loss", "cw"], "unknown loss 'cw'"),
        (["--norm", "l2", "--eps", "8"], "did you mean 8/255?"),
        (["--save", "x.png"], "must end in .npy or .parquet"),
        (["--save", "nowhere/x.npy"], "does not exist"),
        (["--attack", "feature", "--features", "head"], "unknown feature 'head'"),
        (["--attack", "feature", "--distance", "l3"], "unknown distance 'l3'"),
        (["--attack", "feature", "--save", "x.png"], "must end in .npy or .parquet"),
        (["--attack", "feature", "--probe", "x.safetensors"], "not for feature"),
        (["--eps", "8"], "did you mean 8/255?"),
        (["--eps", "-1/255"], "is negative"),
        (["--eps", "big"], "is not a number"),
        (["--report", "r.pdf"], "must end in .html"),
        (["--crops", "4"], "does not say which crops it was trained on"),
    ],
)
def test_wrong_usage_is_one_line(zoo, tiny_release, arguments, said):
    captured = zoo("attack", "-m", tiny_release, "--limit", 4, *arguments, code=2)
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("attack", ["apgd", "apgd-dlr", "apgd-t", "fab", "square"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_attack_has_a_command(zoo, tiny_release, attack, norm):
    command = ["attack", "-m", tiny_release, "--attack", attack, "--norm", norm, "--limit", 12]
    found = answer(zoo(*command, "--steps", 1, "--eps", "0.01", "--json"))
    assert [r["metric"] for r in found["results"]] == ["clean accuracy", "robust accuracy"]
    assert found["norm"] == norm
    assert found["seed"] == 0
    used = {"apgd-t": "steps targets", "fab": "steps targets", "square": "queries"}
    used = used.get(attack, "loss steps restarts").split()
    every = {"steps", "step_size", "restarts", "start", "loss", "targets", "queries"}
    assert every & set(found) == set(used), "what the attack has, and nothing else"
    assert found[used[0] if used[0] != "loss" else "steps"] == 1
    assert set(found["versions"]) == {"cfamc-zoo", "torch", "onnxruntime", "python"}
    assert found["completeness"] == "complete"


def test_the_quick_ensemble_has_rows_by_attack_and_a_worst_case(zoo, tiny_release):
    command = ["attack", "-m", tiny_release, "--attack", "apgd-only", "--limit", 20]
    found = answer(zoo(*command, "--eps", "1/255", "--json"))
    rows = found["results"]
    assert [r["attack"] for r in rows] == ["", "APGD-CE", "APGD-T", "APGD-CE + APGD-T"]
    assert rows[-1]["correct"] == rows[-2]["correct"]
    assert isinstance(found["doubts"], list)


def test_adversarial_images_are_saved(zoo, tiny_release, tmp_path, sample):
    command = ["attack", "-m", tiny_release, "--limit", 10, "--steps", 2, "--json"]
    rows = answer(zoo(*command, "--eps", "4/255,8/255", "--save", "x.parquet"))["results"]
    table = pq.read_table(tmp_path / "x.parquet").to_pydict()
    assert table["eps"] == ["4/255"] * 10 + ["8/255"] * 10
    assert table["stands"] == rows[1]["correct"] + rows[2]["correct"]
    assert table["label"][:10] == sample.labels[:10].tolist()
    clean = sample.images[:10].transpose(0, 3, 1, 2).astype(np.float32) / 255
    images = np.array(table["image"], np.float32).reshape(2, 10, 3, 32, 32)
    assert np.abs(images[0] - clean).max() <= 4 / 255 + 1e-6
    assert np.abs(images[1] - clean).max() <= 8 / 255 + 1e-6
    zoo(*command, "--eps", "4/255", "--save", "x.npy")
    assert np.array_equal(np.load(tmp_path / "x.npy")[0], images[0])
    assert "already there" in zoo(*command, "--save", "x.npy", code=2).err


def test_label_free_attacks_are_reported_in_a_table_and_in_json(zoo, tiny_release):
    command = ["attack", "-m", tiny_release, "--attack", "feature", "--limit", 12, "--steps", 2]
    (row,) = answer(zoo(*command, "--eps", "2/255", "--json"))["results"]
    assert row["n"] == 12
    assert 0 <= row["breakaway_risk"] <= 1
    assert row["low"] <= row["retrieval_top1"] <= row["high"]
    table = zoo(*command, "--distance", "cosine", "--norm", "l2", "--eps", "0.2,0.5")
    assert "breakaway" in table.out
    for column in ("pushed: ", "pulled: ", "breakaway: ", "overlap: ", "top-1: "):
        assert column in table.err
    assert "nothing here is a robust accuracy; of 12 images" in table.err
    assert table.out.count("\n") == 3


def test_label_free_attacks_are_saved_kept_and_reported(zoo, tiny_release, tmp_path, sample):
    command = ["attack", "-m", tiny_release, "--attack", "feature", "--limit", 7, "--steps", 2]
    command += ["--eps", "2/255,4/255", "--json", "--state", "state"]
    found = answer(zoo(*command, "--save", "x.parquet", "--report", "r.html"))
    assert found["completeness"] == "complete"
    table = pq.read_table(tmp_path / "x.parquet").to_pydict()
    assert table["attack"] == (["push"] * 7 + ["pull"] * 7) * 2
    assert table["eps"] == ["2/255"] * 14 + ["4/255"] * 14
    assert sum(table["stands"][:7]) / 7 * 100 == pytest.approx(
        found["results"][0]["retrieval_top1"]
    )
    pairs = dict(enumerate(table["partner"][:7]))
    assert sorted(pairs.values())[0] == -1, "seven images have three pairs"
    assert all(pairs[p] == i for i, p in pairs.items() if p >= 0)
    clean = sample.images[:7].transpose(0, 3, 1, 2).astype(np.float32) / 255
    images = np.array(table["image"], np.float32).reshape(4, 7, 3, 32, 32)
    assert np.abs(images[:2] - clean).max() <= 2 / 255 + 1e-6
    text = (tmp_path / "r.html").read_text()
    assert "label-free PGD" in text and "This is no robust accuracy" in text
    assert shlex.split(unescape(text).split('<pre class="command">')[1].split("</pre>")[0])[:2] == [
        "cfamc-zoo",
        "attack",
    ]
    again = answer(zoo(*command))
    for before, after in zip(found["results"], again["results"], strict=True):
        assert after.pop("seconds") == pytest.approx(before.pop("seconds"), abs=0.01)
        assert before == after, "read from the state"
    assert "its steps is 2, not 3" in zoo(*command, "--steps", 3, code=2).err


@pytest.mark.parametrize("number", [signal.SIGINT, sweep(signal.SIGKILL)])
def test_a_run_that_is_ended_keeps_whole_what_it_measured(tiny_release, tmp_path, number):
    """Interrupted by a person: exit code 130, and what was measured is shown. The rest follows."""
    command = [
        *(sys.executable, "-m", "cfamc_zoo", "attack", "-m", str(tiny_release)),
        # One image in ten is classified correctly, so there are some fifteen batches.
        *("--attack", "square", "--steps", "500", "--limit", "600", "--batch-size", "4"),
        *("--eps", "1/255", "--json", "--state", str(tmp_path / "state")),
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        for _ in range(1200):
            path = tmp_path / "state"
            if path.exists() and '"Square"' in path.read_text():
                break
            time.sleep(0.1)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    # What evaluation/test_ledger goes on from to the very same end.
    assert json.loads((tmp_path / "state").read_text())["stages"]
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL, err
        assert out == ""
        return
    assert process.returncode == 130, err
    assert "the same command goes on" in err
    assert json.loads(out)["completeness"] == "partial"


def test_the_sample_is_the_default(zoo, tiny_release):
    found = answer(zoo("attack", "-m", tiny_release, "--limit", 5, "--steps", 1, "--json"))
    assert found["data"] == load_dataset("cifar10-sample").name


def test_a_page_is_written_once(zoo, tiny_release, tmp_path):
    command = ["attack", "-m", tiny_release, "--limit", 12, "--steps", 2]
    zoo(*command, "--eps", "2/255,8/255", "--report", "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "tiny under PGD-2, linf, on cifar10-sample" in text
    assert "data:image/png;base64," in text
    assert "already there" in zoo(*command, "--report", "r.html", code=2).err
    assert "must end in .html" in zoo(*command, "--report", "r.pdf", code=2).err


@pytest.fixture
def pictures(tmp_path, sample):
    """A folder of class folders with the first 30 images of the sample."""
    from PIL import Image

    folder = tmp_path / "pictures"
    for i in range(30):
        part = folder / sample.classes[sample.labels[i]]
        part.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample.images[i]).save(part / f"{i:03}.png")
    return folder


def test_a_folder_of_class_folders_is_attacked_with_the_models_own_head(
    zoo, tiny_release, pictures, sample
):
    command = ["attack", "-m", tiny_release, "--steps", 1, "--json"]
    found = answer(zoo(*command, "--data", pictures))
    assert found["data"] == "pictures"
    own = answer(zoo(*command, "--limit", 30))
    assert sum(found["results"][0]["correct"]) == sum(own["results"][0]["correct"])
    (pictures / "ship").rename(pictures / "boat")
    assert "such as 'boat'" in zoo(*command, "--data", pictures, code=2).err


def test_classes_of_ones_own_are_attacked_through_their_neighbours(zoo, tiny_release, pictures):
    for part in list(pictures.iterdir()):
        part.rename(pictures / f"my {part.name}")
    command = ["attack", "-m", tiny_release, "--data", pictures, "--head", "knn", "--steps", 2]
    found = answer(zoo(*command, "--json"))
    assert found["results"][0]["n"] == 15
    assert "two heads" in zoo(*command, "--probe", "x.safetensors", code=2).err


def test_without_labels_the_label_free_attacks_run(zoo, tiny_release, pictures, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in list(pictures.rglob("*.png"))[:6]:
        path.rename(flat / path.name)
    captured = zoo("attack", "-m", tiny_release, "--data", flat, "--json")
    assert "no class folders" in captured.err
    assert answer(captured)["attack"] == "feature"
    (flat / "broken.png").write_bytes(b"not an image")
    assert "broken.png" in zoo("attack", "-m", tiny_release, "--data", flat, code=1).err
    (tmp_path / "empty").mkdir()
    assert "holds no images" in zoo("attack", "-m", tiny_release, "--data", "empty", code=1).err


def test_a_multi_crop_head_is_attacked_through_the_mean_of_its_crops(
    zoo, tiny_release, tmp_path, sample
):
    import torch
    from torch import nn

    import cfamc_zoo
    from cfamc_zoo.zoo.network.classifier import Classifier
    from cfamc_zoo.zoo.network.multicrop import CropPlan, MultiCrop
    from cfamc_zoo.zoo.release.loading import probe_bytes

    torch.manual_seed(0)
    reader = MultiCrop(cfamc_zoo.load(str(tiny_release)), CropPlan(3, (0.2, 1), (0.75, 1.3)))
    head = Classifier(
        reader, nn.Linear(32, 10), feature="backbone", classes=sample.classes, data="cifar10"
    )
    (tmp_path / "p.safetensors").write_bytes(probe_bytes(head))
    command = ["attack", "-m", tiny_release, "--probe", "p.safetensors", "--limit", 6, "--json"]
    found = answer(zoo(*command, "--steps", 1))
    assert "the mean over 3 crops" in found["notes"][0]
    assert found["crops"]["count"] == 3
    assert "leave --crops away" in zoo(*command, "--crops", 2, code=2).err


def test_crops_are_those_of_the_recipe_and_of_the_seed(zoo, tiny_release, tmp_path):
    import dataclasses

    import cfamc_zoo
    from cfamc_zoo.zoo.release.folder import PROBE
    from cfamc_zoo.zoo.release.loading import save_release
    from tests.conftest import make_config

    encoder = cfamc_zoo.load(str(tiny_release))
    views = {"count": 8, "scale": [0.2, 1.0], "ratio": [0.75, 1.33]}
    config = make_config(encoder, "cropped")
    config = dataclasses.replace(config, recipe={**config.recipe, "views": views})
    head = {PROBE: (tiny_release / PROBE).read_bytes()}
    save_release(tmp_path / "r", encoder, config, head)
    command = ["attack", "-m", "r", "--crops", 2, "--limit", 12, "--steps", 2, "--json"]
    first, again = (zoo(*command) for _ in range(2))
    found = answer(first)
    assert found["crops"] == {"count": 2, "scale": [0.2, 1.0], "ratio": [0.75, 1.33], "seed": 0}
    assert "expectation over the crops" in first.err
    assert [r["correct"] for r in found["results"]] == [
        r["correct"] for r in answer(again)["results"]
    ]
    for more in (["--attack", "feature"], ["--head", "knn"]):
        assert answer(zoo(*command, *more, "--seed", 5))["crops"]["seed"] == 5
