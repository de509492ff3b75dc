"""The folder of a training run wherever a model is asked for."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

import cfamc_zoo
from cfamc_zoo.errors import ReleaseError, UsageError
from cfamc_zoo.zoo.catalogue.resolve import open_folder, resolve
from cfamc_zoo.zoo.release.folder import CONFIG, GRAPH, MODEL, open_release, write_files


@pytest.fixture
def run(tmp_path, tiny_release):
    """What a run leaves: a checkpoint, and a release that has weights alone."""
    run = tmp_path / "my runs" / "run"
    release = open_release(shutil.copytree(tiny_release, run / "release"))
    write_files(
        release.folder, replace(release.config, files={MODEL: release.config.files[MODEL]}), {}
    )
    for name in ("model.onnx", "probe.safetensors", "projector.safetensors", "results.json"):
        (run / "release" / name).unlink()
    tensors = {"delta": np.zeros(3, np.float32)}
    save_file(tensors, run / "checkpoint.safetensors", {"recipe": json.dumps({"name": "quick"})})
    (run / "metrics.jsonl").write_text('{"step": 1}\n')
    return run


def test_a_finished_run_is_its_release(run, tiny_release):
    for name in (run, run / "release"):
        assert resolve(str(name)).folder == run / "release"
    assert cfamc_zoo.load(str(run))(torch.zeros(1, 3, 32, 32)).shape == (1, 32)
    assert open_folder(tiny_release).folder == tiny_release


def test_an_unfinished_run_says_how_it_goes_on(run):
    shutil.rmtree(run / "release")
    with pytest.raises(UsageError) as error:
        resolve(str(run))
    how = f"cfamc-zoo train quick -o '{run}' --resume"
    assert str(error.value) == f"{str(run)!r} is a run that is not finished: {how}"
    (run / "release").mkdir()
    (run / "release" / MODEL).write_bytes(b"half")
    with pytest.raises(UsageError, match="is a run that is not finished"):
        resolve(str(run))
    for damage in (lambda p: p.write_bytes(b"x"), lambda p: p.unlink()):
        damage(run / "checkpoint.safetensors")
        with pytest.raises(UsageError, match="no checkpoint that can be read; start it again"):
            resolve(str(run))


def test_a_folder_that_is_neither_is_no_run(tmp_path):
    (tmp_path / "release").mkdir()
    with pytest.raises(ReleaseError, match=f"has no {CONFIG}; it is not a release"):
        resolve(str(tmp_path))


def test_a_run_embeds(run, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    encoder = cfamc_zoo.load(str(run))
    expected = encoder(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
    for image in (pixels, tmp_path / "a.png"):
        vectors = cfamc_zoo.embed([image], model=str(run))
        np.testing.assert_allclose(vectors, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_push_says_what_makes_a_whole_release_of_it(run):
    for folder in (run, run / "release"):
        with pytest.raises(ReleaseError) as error:
            cfamc_zoo.push(folder, "zoo/run")
        assert f"has no {GRAPH}; make a whole release" in str(error.value)
        assert str(error.value).endswith(f": cfamc-zoo export '{run}' -o DIR, then push DIR")
