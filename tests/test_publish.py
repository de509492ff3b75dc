"""The whole path: train, export, push, pull elsewhere, embed with both back ends."""

import json

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image

import cfamc_zoo
from cfamc_zoo import Encoder
from cfamc_zoo.zoo.release.results import accuracies, differences, parse_rows
from tests import inside
from tests.cli.test_train import TINY
from tests.hub import TOKEN, Hub, serve
from tests.hub.client import command
from tests.hub.here import client_of


def test_trained_here_pushed_and_embedded_elsewhere(tmp_path, sample):
    hub, (here, there) = Hub(), (tmp_path / "here", tmp_path / "there")
    images = tmp_path / "images"
    images.mkdir()
    for i, image in enumerate(sample.images[:5]):
        Image.fromarray(image).save(images / f"{i}.png")
    run, folder = tmp_path / "run", tmp_path / "tiny"
    with serve(hub) as address:
        inside.cfamc_zoo("train", *TINY, "-o", run, "--set=max_steps=2")
        inside.cfamc_zoo("export", run, "-o", folder)
        pushed = command(address, here, "push", folder, "zoo/tiny", HF_TOKEN=TOKEN)
        assert pushed.stdout == f"{address}/zoo/tiny\n"
        embed = ("embed", images, "-m", "zoo/tiny", "--json", "-o")
        done = {"onnx": command(address, there, *embed, tmp_path / "onnx.npy")}
    with client_of(hub, tmp_path / "elsewhere"):
        done["torch"] = inside.cfamc_zoo(*embed, tmp_path / "torch.npy", "--backend", "torch")
    vectors = {backend: np.load(tmp_path / f"{backend}.npy") for backend in done}
    assert [json.loads(d.stdout)["written"] for d in done.values()] == [5, 5]
    np.testing.assert_allclose(vectors["onnx"], vectors["torch"], rtol=1e-4, atol=1e-5)
    x = torch.from_numpy(sample.images[:5]).permute(0, 3, 1, 2).float() / 255
    expected = cfamc_zoo.load(str(folder))(x).numpy()
    np.testing.assert_allclose(vectors["onnx"], expected, rtol=1e-4, atol=1e-5)


def test_encoders_come_and_go_as_hub_users_expect(tiny_release, tmp_path, monkeypatch):
    hub = Hub()
    x = torch.rand(2, 3, 32, 32)
    encoder = Encoder.from_pretrained(tiny_release)
    encoder.save_pretrained(tmp_path / "mine")
    again = Encoder.from_pretrained(tmp_path / "mine")
    torch.testing.assert_close(again(x), encoder(x))
    assert again.config.name == "mine"
    rows = parse_rows((tmp_path / "mine" / "results.json").read_bytes(), "mine")
    assert not accuracies(rows), "measured with weights that may have changed"
    assert {row.feature for row in differences(rows)} == {"backbone", "representation"}
    with pytest.raises(cfamc_zoo.ZooError, match="already there"):
        encoder.save_pretrained(tmp_path / "mine")

    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serve(hub) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        assert encoder.push_to_hub("zoo/mine", private=True) == f"{address}/zoo/mine"
    assert hub.repos["zoo/mine"].private
    assert b'"mine"' in hub.repos["zoo/mine"].files()["config.json"]
