"""Releases that tests use: tiny, with BatchNorm statistics that are not the initial ones."""

import os
import resource
import shutil
import signal
import subprocess

import pytest
import torch
from filelock import FileLock
from torch import nn

from cfamc_zoo.datasets import load_dataset
from cfamc_zoo.export.release import export_release
from cfamc_zoo.zoo.network.classifier import Classifier
from cfamc_zoo.zoo.network.encoder import Encoder, build_projector
from cfamc_zoo.zoo.network.families.resnet import ResNetArchitecture
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.release.config import ReleaseConfig
from cfamc_zoo.zoo.release.folder import PROBE
from cfamc_zoo.zoo.release.loading import probe_bytes

# A job in the background of a shell ignores Ctrl-C, and what it starts inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """What tests keep between runs of the program is not the user's."""
    os.environ["CFAMC_ZOO_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """What takes seconds to make, made by one of pytest-xdist's workers for all of them.

    `made_once(name, make)` is a folder that `make(folder)` has filled; do not write into it.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def once(name, make):
        folder = root / f"once-{name}"
        with FileLock(root / f"once-{name}.lock"):
            if not folder.exists():
                unfinished = tmp_path_factory.mktemp(name)
                make(unfinished)
                unfinished.rename(folder)
        return folder

    return once


def randomize_batchnorm(module):
    """Statistics and scales as after training: with the initial ones, folding errors hide."""
    for child in module.modules():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(child.weight, 0.5, 1.5)
            nn.init.uniform_(child.bias, -0.5, 0.5)
            nn.init.uniform_(child.running_mean, -0.5, 0.5)
            nn.init.uniform_(child.running_var, 0.5, 2.0)


def make_encoder(width=4):
    torch.manual_seed(0)
    architecture = ResNetArchitecture(width=width, representation=32, projection=16)
    encoder = Encoder(architecture, projector=build_projector(architecture))
    randomize_batchnorm(encoder)
    return encoder.eval().requires_grad_(False)


def make_config(encoder, name="tiny"):
    return ReleaseConfig(
        format_version=1,
        name=name,
        architecture=encoder.architecture,
        preprocess=Preprocess(),
        threat_model={"norm": "linf", "eps": "8/255"},
        recipe={"name": "tiny", "data": "cifar10"},
        provenance={},
        licence="Apache-2.0",
    )


@pytest.fixture(scope="session")
def sample():
    return load_dataset("cifar10-sample")


@pytest.fixture(scope="session")
def tiny_release(made_once, sample):
    """A whole release folder; do not write into it."""

    def make(folder):
        encoder = make_encoder()
        head = nn.Linear(32, 10)
        classifier = Classifier(
            encoder, head, feature="representation", classes=sample.classes, data="cifar10"
        )
        export_release(
            encoder,
            make_config(encoder),
            folder / "tiny",
            images=sample.images[:8],
            data=sample.name,
            others={PROBE: probe_bytes(classifier)},
        )

    return made_once("releases", make) / "tiny"


@pytest.fixture(scope="session")
def tiny_files(tiny_release):
    """The same release as names to bytes, card included."""
    return {f.name: f.read_bytes() for f in tiny_release.iterdir()}


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 64 KiB; where none may be mounted, files may not get larger."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") and subprocess.run(mount, capture_output=True).returncode == 0:
        yield folder
        subprocess.run(["umount", "-l", str(folder)], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
    yield folder
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
