"""Releases: checked before they are read, loaded strictly, never unpickled."""

import hashlib
import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load, save

import cfamc_zoo
from cfamc_zoo.errors import ReleaseError, UsageError
from cfamc_zoo.zoo.release.folder import CONFIG, GRAPH, MODEL, PROBE, open_release, write_files


@pytest.fixture
def release(tiny_release, tmp_path):
    return open_release(shutil.copytree(tiny_release, tmp_path / "release"))


def repin(release, name, content):
    """A release whose config vouches for the new content: the readers behind must refuse it."""
    return write_files(release.folder, release.config, {name: content})


def edit_config(release, **changes):
    path = release.folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_release_loads_with_every_feature(release):
    encoder = cfamc_zoo.load(str(release.folder))
    x = torch.rand(2, 3, 32, 32)
    for feature, size in (("backbone", 32), ("representation", 32), ("projection", 16)):
        assert encoder(x, feature).shape == (2, size)
    assert not encoder.training
    assert cfamc_zoo.load_classifier(str(release.folder))(x).shape == (2, 10)


@pytest.mark.parametrize("name", [MODEL, GRAPH, PROBE])
def test_one_changed_byte_is_refused_before_anything_is_read(release, name):
    path = release.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ReleaseError, match="is not the file that its config pins"):
        release.verify()
    if name == MODEL:
        with pytest.raises(ReleaseError, match="is not the file that its config pins"):
            cfamc_zoo.load(str(release.folder))


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-1], lambda c: c + b"x", lambda c: b""], ids=["short", "long", "empty"]
)
def test_a_wrong_length_is_refused(release, damage):
    path = release.folder / MODEL
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ReleaseError, match="pull again"):
        cfamc_zoo.load(str(release.folder))


def tensors_without(tensors):
    tensors.pop("backbone.conv1.weight")


def tensors_with_more(tensors):
    tensors["backbone.extra"] = torch.zeros(1)


def tensors_of_other_shape(tensors):
    tensors["backbone.conv1.weight"] = torch.zeros(5, 3, 3, 3)


def tensors_of_other_type(tensors):
    tensors["backbone.conv1.weight"] = torch.zeros(4, 3, 3, 3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (tensors_without, "missing ['backbone.conv1.weight']"),
        (tensors_with_more, "extra ['backbone.extra']"),
        (tensors_of_other_shape, "has shape (5, 3, 3, 3), expected (4, 3, 3, 3)"),
        (tensors_of_other_type, "torch.int64"),
    ],
)
def test_tensors_that_do_not_fit_are_named(release, change, said):
    tensors = load(release.read(MODEL))
    change(tensors)
    repin(release, MODEL, save(tensors))
    with pytest.raises(ReleaseError) as error:
        cfamc_zoo.load(str(release.folder))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


class Exploit:
    def __reduce__(self):
        return (open, ("exploited", "w"))


def test_a_pickle_under_a_safe_name_is_not_unpickled(release, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    repin(release, MODEL, pickle.dumps(Exploit()))
    with pytest.raises(ReleaseError, match="is not safetensors"):
        cfamc_zoo.load(str(release.folder))
    assert not (tmp_path / "exploited").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format_version": 2}, "upgrade cfamc-zoo"),
        ({"surprise": 1}, "a newer cfamc-zoo may have written it"),
        ({"surprise": 1}, "unknown config key 'surprise'; known: "),
        ({"architecture": {"backbone": "resnet19"}}, "did you mean"),
        ({"architecture": {"width": -1}}, "width is -1"),
        ({"architecture": []}, "architecture is []; it must be a table of keys"),
        ({"preprocess": {"size": "32"}}, "size is '32'"),
        ({"files": {"../escape": {"size": 1, "sha256": "0" * 64}}}, "a release holds only"),
        ({"files": {}}, "does not list model.safetensors"),
        ({"files": []}, "config key files is []; it must be a table of keys"),
        (
            {"threat_model": {"norm": "linf"}},
            "threat_model has ['norm']; it must have",
        ),
        ({"recipe": []}, "config key recipe is []; it must be a table of keys"),
        ({"name": 7}, "config key name is 7; it must be text"),
    ],
)
def test_a_config_that_is_not_ours_is_refused_with_a_reason(release, changes, said):
    edit_config(release, **changes)
    with pytest.raises(ReleaseError) as error:
        cfamc_zoo.load(str(release.folder))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json", "[" * 100_000, '{"a": NaN'])
def test_a_config_that_is_no_config(release, text):
    (release.folder / CONFIG).write_text(text)
    with pytest.raises(ReleaseError):
        open_release(release.folder)


def test_a_config_too_large_to_be_one_is_not_parsed(release, monkeypatch):
    (release.folder / CONFIG).write_bytes(b" " * (1 << 20) + b"{}")
    monkeypatch.setattr(json, "loads", lambda text: pytest.fail("parsed"))
    with pytest.raises(ReleaseError, match="has more than 1048576 bytes and is not read"):
        open_release(release.folder)


def test_a_link_out_of_the_release_is_refused(release, tmp_path):
    outside = tmp_path / "outside"
    (release.folder / MODEL).rename(outside)
    (release.folder / MODEL).symlink_to(outside)
    with pytest.raises(ReleaseError, match="is a link out of the release"):
        cfamc_zoo.load(str(release.folder))


def test_a_hub_caches_own_links_are_followed(release, tmp_path):
    repo = tmp_path / "models--x"
    (repo / "blobs").mkdir(parents=True)
    snapshot = repo / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for file in release.folder.iterdir():
        blob = repo / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(f"../../blobs/{blob.name}")
    open_release(snapshot).verify()
    (snapshot / MODEL).unlink()
    (snapshot / MODEL).symlink_to(release.folder / MODEL)
    with pytest.raises(ReleaseError, match="is a link out of the release"):
        open_release(snapshot).verify()


def test_what_is_not_there(release, tmp_path):
    (release.folder / MODEL).unlink()
    with pytest.raises(ReleaseError, match="has no model.safetensors"):
        cfamc_zoo.load(str(release.folder))
    with pytest.raises(UsageError, match="is not a folder"):
        cfamc_zoo.load(str(tmp_path / "nowhere"))
    (release.folder / CONFIG).unlink()
    with pytest.raises(ReleaseError, match="has no config.json"):
        open_release(release.folder)


def test_a_probe_for_another_width_is_refused(release):
    from cfamc_zoo.zoo.release.loading import attach_probe

    content = save(
        {"weight": torch.zeros(10, 7), "bias": torch.zeros(10)},
        {"feature": "backbone", "data": "cifar10", "classes": json.dumps(["a"] * 10)},
    )
    with pytest.raises(ReleaseError, match=r"head of \(10, 7\), this encoder needs \(10, 32\)"):
        attach_probe(cfamc_zoo.load(str(release.folder)), content, "probe")
    for bad in (b"", b"x" * 100, save({"weight": torch.zeros(1)})):
        with pytest.raises(ReleaseError, match="is not a probe"):
            attach_probe(cfamc_zoo.load(str(release.folder)), bad, "probe")


def test_matrices_are_stored_half_and_vectors_whole(release):
    for name, tensor in load(release.read(MODEL)).items():
        if tensor.is_floating_point():
            assert tensor.dtype == (torch.float16 if tensor.ndim > 1 else torch.float32), name
