"""Where what the documentation shows is run: a folder with what it speaks of, and a Hub."""

import shutil
from importlib import resources

import pytest
from PIL import Image

from cfamc_zoo.cli.app import run
from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.training import averaging, estimate
from tests.docs.showing import PROTOCOL, SHORT
from tests.hub import Hub
from tests.hub.here import client_of


@pytest.fixture(scope="session")
def trained(made_once):
    """A run of one batch, for what goes on from one."""

    def make(folder):
        line = ["train", "cf-amc-ssl-thin", "--data", "cifar10-sample", "-o", str(folder / "run")]
        assert run([*line, *SHORT]) == 0

    return made_once("trained", make) / "run"


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """images/, and photos/ in two classes; what a recipe of photos takes long for is short."""
    monkeypatch.setattr(estimate, "TRIED_SECONDS", 0.0)
    monkeypatch.setattr(averaging, "STATISTICS_CROPS", 64)
    sample = load_dataset("cifar10-sample")
    for row, (image, label) in enumerate(zip(sample.images[:240], sample.labels, strict=False)):
        places = ["images"] if row < 20 else []
        places += [f"photos/{label}"] if label in (3, 5) else []
        for place in places:
            (tmp_path / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(tmp_path / place / f"{row:03}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def exported(made_once, trained):
    """The release of that run."""

    def make(folder):
        assert run(["export", str(trained), "-o", str(folder / "my-encoder")]) == 0

    return made_once("exported", make) / "my-encoder"


@pytest.fixture
def furnished(workspace, trained, exported, monkeypatch, tmp_path_factory):
    """The workspace with all that commands speak of: run/, my-encoder/, vectors.parquet, CIFAR."""
    shutil.copytree(trained, workspace / "run")
    shutil.copytree(exported, workspace / "my-encoder")
    data = tmp_path_factory.mktemp("data")
    (data / "cifar10/plain_text").mkdir(parents=True)
    sample = resources.files("cfamc_zoo") / "samples/cifar10-sample.parquet"
    for split in ("train", "test"):
        shutil.copy(str(sample), data / f"cifar10/plain_text/{split}-00000-of-00001.parquet")
    monkeypatch.setenv("CFAMC_ZOO_DATA", str(data))
    (workspace / PROTOCOL).write_text(
        'text = "short"\n[head]\nselect = "clean"\n'
        '[[attacks]]\neps = ["8/255"]\nsettings = { steps = 1 }\n'
    )
    assert run(["embed", "images/", "-o", "vectors.parquet", "--columns", "size,mtime"]) == 0
    return workspace


@pytest.fixture
def hub(exported, tmp_path_factory):
    """A Hub on loopback with two releases on it."""
    files = {f.name: f.read_bytes() for f in exported.iterdir()}
    hub = Hub()
    hub.organizations = ["cfamc-zoo", "me"]
    for repo in ("cfamc-zoo/an-encoder", "somebody/their-encoder"):
        hub.add(repo, files)
    with client_of(hub, tmp_path_factory.mktemp("cache")):
        yield hub
