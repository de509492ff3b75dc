"""`cfamc_zoo.probe` and `cfamc-zoo probe`, on named sets and one's own images."""

import dataclasses
import json
import re
import shlex
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import cfamc_zoo
from cfamc_zoo.cli.app import run
from cfamc_zoo.errors import DataError, UnknownNameError, UsageError
from cfamc_zoo.evaluation.heads.neighbours import nearest_votes
from cfamc_zoo.evaluation.subject import head_split, measured_images
from cfamc_zoo.zoo.release.folder import PROBE, open_release, write_files


@pytest.fixture
def zoo(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments, code=0):
        assert run([str(a) for a in arguments]) == code
        return capsys.readouterr()

    return call


def colours(n=12, size=40, seed=0):
    """Images of two classes that differ by colour: (2n, size, size, 3) uint8, and names."""
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 100, (2 * n, size, size, 3), dtype=np.uint8)
    images[:n, ..., 0] += 150
    images[n:, ..., 2] += 150
    return images, ["tea"] * n + ["sea"] * n


def fill(folder, n=12, seed=0):
    images, labels = colours(n, seed=seed)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        part = folder / label / ("deep" if i % 3 == 0 else ".")
        part.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(part / f"{i:02}.png")
    return folder


def test_class_folders_are_probed_on_a_part_held_out_and_attacked_on_it(
    zoo, tiny_release, tmp_path
):
    fill(tmp_path / "ds")
    captured = zoo("probe", "-m", tiny_release, "--data", "ds", "-o", "h.safetensors", "--json")
    answer = json.loads(captured.out)
    assert "20% of each class, drawn from seed 0, is held out" in captured.err
    assert (answer["train_images"], answer["n"]) == (20, 4)
    assert answer["test_accuracy"] == answer["knn_accuracy"] == 100
    assert answer["feature"] == "representation", "what the release's own head reads"

    attack = ("attack", "-m", tiny_release, "--data", "ds", "--steps", 1, "--json")
    captured = zoo(*attack, "--probe", "h.safetensors")
    assert "4 of 24 images are measured, images that the head was not fitted to" in captured.err
    result = json.loads(captured.out)
    assert result["results"][0]["n"] == 4 and result["results"][0]["value"] == 100
    assert result["rows"] == "all 4 images that the head was not fitted to"

    (tmp_path / "ds" / "tea" / "01.png").unlink()
    release, said = open_release(tiny_release), []
    split = head_split(release, tmp_path / "h.safetensors")
    assert len(measured_images(release, "ds", split=split, say=said.append)) == 23
    assert "files have changed since" in said[0]


def test_a_folder_of_two_parts_is_fitted_to_one_and_tested_on_the_other(
    zoo, tiny_release, tmp_path
):
    second = "Val"
    fill(tmp_path / "ds" / "train")
    fill(tmp_path / "ds" / second, n=5, seed=1)
    shutil.rmtree(tmp_path / "ds" / second / "tea")  # labels still are those of train/
    command = ("probe", "-m", tiny_release, "--data", "ds", "--json")
    captured = zoo(*command)
    answer = json.loads(captured.out)
    assert f"fitted to train/, tested on {second}/" in captured.err
    assert (answer["train_images"], answer["n"]) == (24, 5)
    assert answer["data"] == "ds" and answer["test_accuracy"] == 100
    said = []
    measured = measured_images(open_release(tiny_release), "ds", say=said.append)
    assert (len(measured), measured.classes) == (5, ("sea",))
    assert said == [f"note: {second}/ of ds is measured"]

    (tmp_path / "ds" / second / "sea").rename(tmp_path / "ds" / second / "see")
    assert "such as 'see'" in zoo(*command, code=2).err


def test_the_sample_is_probed_on_a_part_of_it_and_says_what_it_is(zoo, tiny_release):
    command = ("probe", "-m", tiny_release, "--data", "cifar10-sample", "--limit", 60, "--json")
    captured = zoo(*command)
    assert "holds test images" in captured.err
    answer = json.loads(captured.out)
    assert answer["train_images"] == 60 and 180 < answer["n"] < 220
    assert answer["train_rows"].startswith("the first 60 of")


def test_the_remedy_of_an_error_can_be_followed(zoo, tiny_release, tmp_path):
    fill(tmp_path / "my data")
    attack = ["attack", "-m", tiny_release, "--data", "my data", "--steps", 1]
    said = zoo(*attack, code=2).err
    (command,) = re.findall("`(.*?)`", said)
    zoo(*shlex.split(command)[1:])
    (option, value) = re.search(r"(--probe) (\S+)", said).groups()
    zoo(*attack, option, value)


def test_the_remedy_for_a_release_without_a_head_can_be_followed(zoo, tiny_release, tmp_path):
    release = open_release(shutil.copytree(tiny_release, tmp_path / "no head"))
    files = {k: v for k, v in release.config.files.items() if k != PROBE}
    (release.folder / PROBE).unlink()
    write_files(release.folder, dataclasses.replace(release.config, files=files), {})
    attack = ["attack", "-m", release.folder, "--steps", 1, "--limit", 20]
    said = zoo(*attack, "--data", "cifar10-sample", code=1).err
    (command,) = re.findall("`(.*?)`", said)
    zoo(*shlex.split(command)[1:], "--data", "cifar10-sample", "--limit", 100)
    zoo(*attack, "--probe", "head.safetensors")


@pytest.mark.parametrize(
    ("make", "code", "said"),
    [
        (lambda d: [colour(d / "1.png"), colour(d / "2.png")], 2, "0 class folders with images"),
        (lambda d: [colour(d / "a/1.png"), colour(d / "a/2.png")], 2, "1 class folders"),
        (lambda d: [colour(d / "a/1.png"), colour(d / "b/1.png")], 1, "one image a class"),
        (lambda d: d.mkdir(), 1, "holds no images"),
    ],
)
def test_what_cannot_be_probed(zoo, tiny_release, tmp_path, make, code, said):
    make(tmp_path / "ds")
    captured = zoo("probe", "-m", tiny_release, "--data", "ds", code=code)
    assert said in captured.err and captured.err.count("\n") == 1


def colour(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


def test_a_model_of_ones_own_data_says_that_it_needs_some(zoo, tiny_release, tmp_path):
    release = open_release(shutil.copytree(tiny_release, tmp_path / "own"))
    recipe = {**release.config.recipe, "data": "photos"}
    write_files(release.folder, dataclasses.replace(release.config, recipe=recipe), {})
    assert "trained on 'photos'" in zoo("probe", "-m", release.folder, code=2).err


def test_a_limit_on_a_folder_is_a_sample_of_all_classes(tiny_release, tmp_path):
    fill(tmp_path / "ds")
    release, said = open_release(tiny_release), []
    folder = str(tmp_path / "ds")
    some = measured_images(release, folder, limit=6, say=said.append)
    assert np.bincount(some.labels).tolist() == [3, 3]
    assert some.rows == "a sample of 6 of 24 images by seed 0" and some.rows in said[0]
    others = measured_images(release, folder, limit=6, seed=1)
    assert not np.array_equal(some.images, others.images)
    assert measured_images(release, folder, limit=24).rows == "all 24 images"
    first = measured_images(release, "cifar10-sample", limit=6)
    assert first.rows == "the first 6 of 1,000 images"


def test_a_named_set_is_not_hidden_by_a_folder_of_its_name(tiny_release, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "cifar10-sample")
    release = open_release(tiny_release)
    assert len(measured_images(release, "cifar10-sample")) == 1000
    assert len(measured_images(release, "./cifar10-sample")) == 24


def test_images_in_memory_are_probed(tiny_release, tmp_path):
    images, names = colours()
    test, test_names = colours(5, seed=1)
    encoder = cfamc_zoo.load(str(tiny_release)).train()
    state = {k: v.clone() for k, v in encoder.state_dict().items()}
    probe = cfamc_zoo.probe(encoder, images, names, test=(test, test_names))
    assert encoder.training
    assert all(torch.equal(v, state[k]) for k, v in encoder.state_dict().items())
    assert probe.classifier.classes == ("sea", "tea")
    assert (probe.test_accuracy, probe.knn_accuracy) == (100, 100)
    assert probe.interval[0] < 100 == pytest.approx(probe.interval[1])
    assert "test images" in str(probe) and not probe.notes
    learnt_by_heart = dataclasses.replace(probe, test_accuracy=55.0)
    assert "24 training images by heart (100.0%, and 55.0% on others)" in str(learnt_by_heart)
    assert learnt_by_heart.to_json()["notes"] == learnt_by_heart.notes

    x = torch.from_numpy(test[:, 4:36, 4:36]).permute(0, 3, 1, 2) / 255
    expected = [probe.classifier.classes.index(name) for name in test_names]
    assert probe.classifier(x).argmax(1).tolist() == expected
    features = encoder.eval()(x, "representation")
    torch.testing.assert_close(probe.head(features), probe.classifier(x))

    probe.save(tmp_path / "h.safetensors")
    from cfamc_zoo.zoo.release.loading import attach_probe

    read = attach_probe(encoder, (tmp_path / "h.safetensors").read_bytes(), "h")
    torch.testing.assert_close(read(x), probe.classifier(x))


def test_floats_and_bytes_are_the_same_images(tiny_release):
    images, names = colours(size=32)
    labels = np.array([int(name == "tea") for name in names])
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    options = {"features": "backbone", "seed": 4}
    by_kind = [
        cfamc_zoo.probe(str(tiny_release), kind, labels, **options)
        for kind in (images, x, x.float() / 255, (x.float() / 255).numpy())
    ]
    for other in by_kind[1:]:
        torch.testing.assert_close(other.head.weight, by_kind[0].head.weight)
    assert len(by_kind[0].material.test) == 4


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"images": np.zeros((24, 8, 8), np.uint8)}, DataError, r"give \(N, H, W, 3\) uint8"),
        ({"images": np.full((24, 3, 8, 8), 200.0)}, DataError, r"in 200\.\.200"),
        ({"labels": [0.5] * 24}, DataError, "24 integers or names"),
        ({"labels": [0, 1]}, DataError, "24 integers or names"),
        ({"labels": [-1] + [1] * 23}, DataError, "label .*-1.* is none of"),
        ({"labels": [0] * 24}, UsageError, "at least 2 classes"),
        ({"test": np.zeros((2, 8, 8, 3), np.uint8)}, UsageError, "give a pair"),
        ({"features": "backbones"}, UnknownNameError, "did you mean backbone"),
        (
            {"test": (np.zeros((1, 8, 8, 3), np.uint8), ["beer"])},
            DataError,
            "'beer'.* is none of",
        ),
        (
            {"test": (np.zeros((1, 8, 8, 3), np.uint8), [0])},
            DataError,
            "are names",
        ),
    ],
)
def test_what_cannot_be_images_or_labels(tiny_release, change, error, said):
    images, names = colours(size=8)
    arguments = {"images": images, "labels": names} | change
    with pytest.raises(error, match=said):
        cfamc_zoo.probe(str(tiny_release), **arguments)


def test_the_nearest_vote_and_the_nearer_weigh_more():
    vectors = torch.tensor([[1.0, 0], [0, 1], [0.1, 1], [0.2, 1]])
    labels = torch.tensor([0, 1, 1, 1])
    queries = torch.tensor([[5.0, 0.1], [0.1, 5]])
    assert nearest_votes(vectors, labels, queries, 2).tolist() == [0, 1]
    # One far vote of class 0 and two near ones of class 1.
    assert nearest_votes(vectors, labels, torch.tensor([[0.6, 1]]), 2, k=1).tolist() == [1]


def test_a_robust_selection_attacks_training_images_that_are_held_out(tiny_release):
    images, names = colours(size=32)
    probe = cfamc_zoo.probe(str(tiny_release), images, names, select="robust")
    assert probe.chosen.held_out_robust
    assert probe.to_json()["select"] == "robust"


def test_a_robust_selection_is_in_the_norm_that_the_encoder_was_trained_in(tiny_release):
    images, names = colours(size=32)
    encoder = cfamc_zoo.load(str(tiny_release))
    against = {"norm": "l2", "eps": "3.0"}  # a radius that L-infinity does not have
    encoder.config = dataclasses.replace(encoder.config, threat_model=against)
    probe = cfamc_zoo.probe(encoder, images, names, select="robust")
    assert probe.chosen.held_out_robust
