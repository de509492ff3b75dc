"""A disk that fills up on the way: one line, and nothing half-written."""

import pytest

import cfamc_zoo
from cfamc_zoo.errors import StorageError
from cfamc_zoo.export.release import export_release
from cfamc_zoo.zoo.catalogue.download import copy_release
from cfamc_zoo.zoo.release.folder import open_release
from tests.conftest import make_config, make_encoder
from tests.hub import Hub, serve
from tests.hub.client import pull


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
        assert "set HF_HOME to a" in outcome["said"]
    assert "folder" in whole
    assert not [path for path in files(small_disk) if path.name == "model.safetensors"]
