"""A disk that fills up on the way: one line, and nothing half-written."""

import resource
import shutil
import subprocess

import pytest

import cfamc_zoo
from cfamc_zoo.errors import StorageError
from cfamc_zoo.export.release import export_release
from cfamc_zoo.zoo.download import copy_release
from cfamc_zoo.zoo.weights import open_release
from tests.conftest import make_config, make_encoder
from tests.hub import Hub, serve
from tests.hub.client import pull


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


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_export(small_disk, sample):
    encoder = make_encoder()
    with pytest.raises(StorageError, match="free some space"):
        export_release(
            encoder,
            make_config(encoder),
            small_disk / "r",
            images=sample.images[:8],
            data="cifar10-sample",
        )
    assert not list(small_disk.iterdir())


def test_a_copy(small_disk, tiny_release):
    with pytest.raises(StorageError, match="free some space"):
        copy_release(open_release(tiny_release), small_disk / "copy")
    assert not list(small_disk.iterdir())


def test_the_release_that_a_push_makes(small_disk, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    with pytest.raises(StorageError, match="free some space"):
        cfamc_zoo.push(make_encoder(), "zoo/tiny")
    assert not list(small_disk.iterdir())


def test_the_hubs_cache(small_disk, tiny_files, tmp_path):
    hub = Hub()
    hub.add("zoo/tiny", tiny_files)
    (tmp_path / "file").write_text("")
    with serve(hub) as address:
        (full,) = pull(address, small_disk, "zoo/tiny")
        (no_folder,) = pull(address, tmp_path / "file" / "home", "zoo/tiny")
        (whole,) = pull(address, tmp_path / "home", "zoo/tiny")
    for outcome in (full, no_folder):
        assert outcome["error"] == "StorageError", outcome
        assert "set HF_HOME to a folder that you can write to" in outcome["said"]
    assert "folder" in whole
    assert not [path for path in files(small_disk) if path.name == "model.safetensors"]
