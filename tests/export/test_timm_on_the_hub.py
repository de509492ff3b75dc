"""A network of timm's on its way to somebody else: exported, pushed, pulled by name and used."""

import json
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from cfamc_zoo.export.timm_models import import_network
from cfamc_zoo.zoo.release.folder import open_release
from tests import inside
from tests.hub import Hub
from tests.hub.client import environment
from tests.hub.here import client_of

REPO, NAME = "zoo/convnext", "test_convnext"
# Its own size: `size` would be another crop. It has a mean, a std and a crop of its own as well.
SIZE = 160
EMBED = """
import sys
from cfamc_zoo.cli.app import run
assert run(sys.argv[1:]) == 0
assert not {"torch", "timm"} & set(sys.modules), "vectors need neither"
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A Hub that a release was pushed to, that release, and photos."""
    folder, hub = tmp_path_factory.mktemp("published"), Hub()
    (folder / "photos").mkdir()
    draws = np.random.default_rng(0)
    for i in range(4):
        pixels = draws.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((260, 200)).save(folder / f"photos/{i}.png")
    release = folder / "convnext"
    inside.cfamc_zoo("export", f"timm:{NAME}", "--weights", "random", "-o", release)
    with client_of(hub, folder / "mine"):
        inside.cfamc_zoo("push", release, REPO)
    return hub, release, folder / "photos"


@pytest.fixture
def address(published, tmp_path):
    with client_of(published[0], tmp_path / "empty/hub") as address:
        yield address


def test_a_stranger_embeds_with_it_without_torch_or_timm(published, address, tmp_path):
    _, release, photos = published
    words = ["embed", str(photos), "-m", REPO, "-o", "vectors.npy"]
    done = subprocess.run(
        [sys.executable, "-c", EMBED, *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(address, tmp_path / "empty"),
    )
    assert done.returncode == 0, done.stderr
    (config,) = (tmp_path / "empty").rglob("config.json")
    assert config.read_bytes() == (release / "config.json").read_bytes()
    assert open_release(config.parent).config.preprocess.size == SIZE
    network = import_network(NAME, weights="random").encoder.backbone
    theirs = timm.data.resolve_data_config(network.pretrained_cfg)
    assert theirs["crop_pct"] < 1 and theirs["mean"] != (0, 0, 0)
    transform = timm.data.create_transform(**theirs)
    images = [transform(Image.open(photos / f"{i}.png")) for i in range(4)]
    with torch.no_grad():
        expected = network(torch.stack(images)).numpy()
    got = np.load(tmp_path / "vectors.npy")
    assert np.abs(got - expected).max() < 0.03 * np.abs(expected).max()


def test_a_stranger_attacks_it_by_its_name(published, address):
    hub, release, photos = published
    before = hub.count("GET /zoo/convnext/resolve")
    words = ["attack", "-m", REPO, "--data", photos, "--attack", "feature", "--eps", "8/255"]
    found = json.loads(inside.cfamc_zoo(*words, "--steps", "1", "--json").stdout)
    assert found["model"] == "convnext" and found["results"][0]["n"] == 4
    assert found["sha256"] == open_release(release).digest
    assert hub.count("GET /zoo/convnext/resolve") > before, "it came from the Hub"
