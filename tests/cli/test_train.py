"""`cfamc-zoo train` as a user calls it."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

import cfamc_zoo
from cfamc_zoo.zoo.images.preprocess import read_image
from cfamc_zoo.zoo.network.spec import Preprocess
from tests import inside
from tests.sweep import sweep

TINY = [
    "cf-amc-ssl-thin",
    "--data=cifar10-sample",
    "--set=encoder.width=2",
    "--set=encoder.representation=16",
    "--set=encoder.projection=8",
    "--set=batch_size=8",
    "--set=views.count=3",
    "--set=checkpoint_steps=2",
    "--set=log_steps=1",
]


def command(*arguments):
    return [sys.executable, "-m", "cfamc_zoo", "train", *arguments]


def train(*arguments, code=0):
    return inside.cfamc_zoo("train", *arguments, code=code)


def steps(run):
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_a_release_that_loads_and_goes_on_where_it_stopped(tmp_path):
    run = tmp_path / "run"
    summary = json.loads(train(*TINY, "-o", run, "--set=max_steps=3", "--json").stdout)
    assert summary["finished"] and summary["steps"] == 3

    encoder = cfamc_zoo.load(summary["release"])
    assert encoder.projector is not None
    assert encoder.architecture.width == 2

    again = train(*TINY, "-o", run, "--set=max_steps=3", code=2)
    assert again.stderr.count("\n") == 1 and "--resume" in again.stderr
    train(*TINY, "-o", run, "--set=max_steps=5", "--resume")
    assert steps(run) == [1, 2, 3, 4, 5]


def test_a_folder_of_photos_is_trained_on_at_the_recipes_size(tmp_path, sample, monkeypatch):
    folder = tmp_path / "my photos"
    for i, pixels in enumerate(sample.images[:9]):
        path = folder / "ab"[i % 2] / "deep" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).resize((60, 40 + i)).save(path)
    (folder / "broken.png").write_bytes(b"no image")
    monkeypatch.setenv("CFAMC_ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(folder)
    own = [a for a in TINY if not a.startswith("--data")]
    own += ["--data=.", "--set=size=48", "-o", str(tmp_path / "run"), "--json"]
    done = train(*own, "--set=max_steps=1", "--set=epochs=3")
    assert "1 of 10 images (1 not an image" in done.stderr
    config = json.loads((tmp_path / "run" / "release" / "config.json").read_text())
    assert config["preprocess"]["size"] == config["recipe"]["size"] == 48
    assert config["recipe"]["data"] == config["provenance"]["data"] == "my photos"
    assert config["provenance"]["images"] == 9 and config["provenance"]["images_sha256"]

    train(*own, "--set=max_steps=2", "--set=epochs=3", "--resume")
    (folder / "a" / "deep" / "0.jpg").unlink()
    other = train(*own, "--set=max_steps=3", "--set=epochs=3", "--resume", code=2)
    assert "started with other images of 'my photos'" in other.stderr


@pytest.mark.sweep
def test_the_recipe_for_photographs_at_96_pixels_goes_from_a_folder_to_vectors(tmp_path):
    """At 64, its own size, the page on training on one's own images is run."""
    folder, run = tmp_path / "photos", tmp_path / "run"
    release, vectors = tmp_path / "my-encoder", tmp_path / "vectors.npy"
    folder.mkdir()
    draws = np.random.default_rng(0)
    for i in range(6):  # blocks of colour, larger than the input and not square
        blocks = draws.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((150, 120 + i)).save(folder / f"{i}.png")
    small = [a for a in TINY[2:] if "views" not in a]
    short = ["--set=batch_size=4", "--set=views.count=2", "--set=max_steps=2"]
    train("cf-amc-ssl-photos", f"--data={folder}", "--set=size=96", "-o", run, *small, *short)
    assert steps(run) == [1, 2]

    inside.cfamc_zoo("export", run, "-o", release)
    config = json.loads((release / "config.json").read_text())
    assert config["preprocess"]["size"] == 96
    assert config["architecture"]["stem"] == "imagenet"
    assert "96 x 96 pixels" in (release / "README.md").read_text()

    inside.cfamc_zoo("embed", folder, "-m", release, "-o", vectors)
    found, photos = np.load(vectors), sorted(folder.iterdir())
    assert found.shape == (6, 16) and len(np.unique(found.round(6), axis=0)) == 6
    pixels = [read_image(photo, Preprocess(size=96)) for photo in photos]
    inputs = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        expected = cfamc_zoo.load(str(release))(inputs).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_run_is_resumed_with_its_own_recipe_only(tmp_path):
    train(*TINY, "-o", tmp_path, "--set=max_steps=1")
    other = train(*TINY, "-o", tmp_path, "--set=seed=7", "--resume", code=2)
    assert "was started with another seed" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cf-amc-sl"], "did you mean cf-amc-ssl"),
        (["cf-amc-ssl", "--set", "epoch=1"], "did you mean epochs"),
        (["cf-amc-ssl", "--data", "cifar11"], "did you mean cifar10"),
        (["cf-amc-ssl", "--max-minutes", "0"], "must be over 0"),
        (["cf-amc-ssl", "--resume", "-o", "nowhere"], "start without --resume"),
        (["cf-amc-ssl", "--device", "gpu", "--data", "cifar10-sample"], "cpu, cuda"),
        (["missing.toml"], "cannot be read"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = train(*arguments, code=2)
    assert said in done.stderr
    assert done.stderr.count("\n") == (2 if "holds test images" in done.stderr else 1), done.stderr


def test_an_output_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    done = train(*TINY, "-o", tmp_path / "file" / "run", code=1)
    assert "cannot write" in done.stderr and done.stderr.count("\n") == 1


def test_a_run_starts_from_a_release_and_its_own_release_says_so(tmp_path, tiny_release):
    shape = ["--set=encoder.width=4", "--set=encoder.representation=32"]
    shape += ["--set=encoder.projection=16", "--set=max_steps=1"]
    run = tmp_path / "run"
    train(*TINY, *shape, "--from", tiny_release, "-o", run)
    config = json.loads((run / "release" / "config.json").read_text())
    origin = config["provenance"]["from"]
    assert origin["name"] == "tiny" and origin["started_anew"] == []
    other = train(*TINY, "--from", tiny_release, "-o", tmp_path / "other", code=2)
    assert "has width 4, representation 32, projection 16" in other.stderr
    assert not (tmp_path / "other").exists()
    both = train(*TINY, *shape, "--from", tiny_release, "-o", run, "--resume", code=2)
    assert "leave --from away" in both.stderr and both.stderr.count("\n") == 1


def test_the_same_from_python(tmp_path, capsys):
    from cfamc_zoo.errors import OutputExistsError

    settings = [text.removeprefix("--set=") for text in TINY[2:]]
    keys = {"data": "cifar10-sample", "run": tmp_path / "run"}
    release = cfamc_zoo.train(TINY[0], settings=[*settings, "max_steps=2"], **keys)
    assert cfamc_zoo.load(str(release)).architecture.width == 2
    with pytest.raises(OutputExistsError):
        cfamc_zoo.train(TINY[0], settings=[*settings, "max_steps=3"], **keys)
    cfamc_zoo.train(TINY[0], settings=[*settings, "max_steps=3"], resume=True, **keys)
    assert steps(tmp_path / "run") == [1, 2, 3]
    assert capsys.readouterr() == ("", "")


def test_an_estimate_tries_some_batches_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    from cfamc_zoo.cli.app import run
    from cfamc_zoo.training import estimate

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(estimate, "TRIED_SECONDS", 0.0)
    assert run(["train", *TINY, "--estimate", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["batches"] == 2 * (1000 // 8)
    assert found["seconds"] == pytest.approx(found["batches"] * found["seconds_a_batch"])
    assert found["crops_per_second"] == pytest.approx(8 * 3 * 3 / found["seconds_a_batch"])
    assert run(["train", *TINY, "--estimate", "--threads=1", "--set=max_steps=7"]) == 0
    assert "for 7 batches" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_run_of_averaged_weights_leaves_a_release_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("cfamc_zoo.training.averaging.STATISTICS_CROPS", 64)
    averaged = [*TINY, "--set=averaging=0.5", "--set=epochs=50", "-o", tmp_path / "run"]
    stopped = train(*averaged, "--max-minutes=0.001")
    release = tmp_path / "run" / "release"
    assert f"what it has learnt so far: {str(release)!r}" in stopped.stderr
    before = cfamc_zoo.load(str(release)).backbone.conv1.weight
    reached = steps(tmp_path / "run")[-1]
    train(*averaged, f"--set=max_steps={reached + 1}", "--resume")
    assert not (cfamc_zoo.load(str(release)).backbone.conv1.weight == before).all()
    plain = train(*TINY, "--set=epochs=50", "-o", tmp_path / "run", "--resume", code=2)
    assert "was started with another averaging" in plain.stderr


@pytest.mark.parametrize("number", [sweep(signal.SIGINT), signal.SIGTERM])
def test_a_signal_saves_the_batch_it_is_at_and_exits_130(tmp_path, number):
    run = tmp_path / "run"
    arguments = [*TINY, "-o", str(run), "--set=epochs=50", "--set=checkpoint_steps=100000"]
    process = subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not ((run / "metrics.jsonl").exists() and steps(run)):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    reached = steps(run)[-1]
    assert f"stopped at batch {reached}; go on with --resume" in said
    train(*arguments, f"--set=max_steps={reached + 2}", "--resume")
    assert steps(run) == list(range(1, reached + 3))
