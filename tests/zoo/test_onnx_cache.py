"""Optimized graphs between runs: the same vectors, nothing unchecked, and never in the way."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load, save

from cfamc_zoo.embedding.backends import open_backend
from cfamc_zoo.errors import ReleaseError, UsageError
from cfamc_zoo.zoo.onnx import cache as onnx_cache
from cfamc_zoo.zoo.onnx.cache import DIGEST, LAID_OUT, OPTIMIZED, cache_folder, open_kept_session
from cfamc_zoo.zoo.onnx.session import open_session
from cfamc_zoo.zoo.release.folder import GRAPH, MODEL, RESULTS, open_release, write_files

X = np.random.default_rng(0).random((5, 3, 32, 32), dtype=np.float32)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CFAMC_ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def release(tmp_path, tiny_release):
    return open_release(shutil.copytree(tiny_release, tmp_path / "release"))


@pytest.fixture
def prepared(monkeypatch):
    """How often a graph has been prepared anew."""
    calls = []

    def counting(*arguments):
        calls.append(arguments)
        return onnx_session_prepare(*arguments)

    onnx_session_prepare = onnx_cache.prepare
    monkeypatch.setattr(onnx_cache, "prepare", counting)
    return calls


def kept(cache):
    return sorted(cache.glob("graphs/*"))


def test_the_second_time_nothing_is_prepared_and_the_vectors_are_the_same(cache, release, prepared):
    for feature in ("backbone", "representation"):
        first, second = (open_kept_session(release, feature)(X) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(first, open_session(release, feature)(X))
    assert len(prepared) == len(kept(cache)) == 2
    assert open_kept_session(release, "backbone", threads=1)(X).shape == (5, 32)
    assert len(prepared) == 2


def test_what_is_kept_is_what_runs(cache, release, tmp_path):
    """With the kept graph of other weights in its place, a release gives the vectors of those."""
    mine = open_kept_session(release, "backbone")(X)
    (place,) = kept(cache)
    tensors = load(release.read(MODEL))
    tensors["backbone.conv1.weight"] = 2 * tensors["backbone.conv1.weight"]
    folder = shutil.copytree(release.folder, tmp_path / "other")
    other = write_files(folder, release.config, {MODEL: save(tensors)})
    theirs = open_kept_session(other, "backbone")(X)
    assert not np.allclose(mine, theirs)
    (new,) = set(kept(cache)) - {place}
    shutil.copytree(new, place, dirs_exist_ok=True)
    np.testing.assert_array_equal(open_kept_session(release, "backbone")(X), theirs)


def test_embedding_on_a_processor_keeps_its_graph(cache, release, prepared):
    first, second = (open_backend(release, feature="backbone")(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(prepared) == len(kept(cache)) == 1


def test_the_second_time_onnx_itself_is_not_imported(cache, release):
    program = (
        "import sys; from pathlib import Path\n"
        "from cfamc_zoo.zoo.onnx.cache import open_kept_session\n"
        "from cfamc_zoo.zoo.release.folder import open_release\n"
        "open_kept_session(open_release(Path(sys.argv[1])), 'backbone')\n"
        "print('onnx' in sys.modules, 'torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", program, str(release.folder)]
    said = [subprocess.check_output(command, text=True).strip() for _ in range(2)]
    assert said == ["True False", "False False"]


@pytest.mark.parametrize("name", [MODEL, GRAPH])
@pytest.mark.parametrize("damage", ["flip", "empty", "missing"])
def test_a_release_is_checked_whatever_is_kept(cache, release, name, damage):
    open_kept_session(release, "backbone")
    path = release.folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content if damage == "flip" else b"")
    if damage == "missing":
        path.unlink()
    with pytest.raises(ReleaseError, match=name):
        open_kept_session(release, "backbone")
    assert len(kept(cache)) == 1, "what is kept is not to blame"


@pytest.mark.parametrize("name", [OPTIMIZED, LAID_OUT, DIGEST])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "missing", "folder"])
def test_damage_to_what_is_kept_is_noticed_and_mended(cache, release, prepared, name, damage):
    expected = open_kept_session(release, "backbone")(X)
    (folder,) = kept(cache)
    path = folder / name
    content = path.read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"flip": flipped, "truncate": content[:-5], "empty": b""}[damage])
    np.testing.assert_array_equal(open_kept_session(release, "backbone")(X), expected)
    assert kept(cache) == [folder]
    assert len(prepared) == 2
    np.testing.assert_array_equal(open_kept_session(release, "backbone")(X), expected)
    assert len(prepared) == 2


@pytest.mark.parametrize("damage", ["a file", "a dangling link", "an empty folder"])
def test_what_is_in_the_place_of_the_folder_is_taken_away(cache, release, prepared, damage):
    expected = open_kept_session(release, "backbone")(X)
    (folder,) = kept(cache)
    shutil.rmtree(folder)
    if damage == "a file":
        folder.write_bytes(b"x")
    elif damage == "a dangling link":
        folder.symlink_to(folder.parent / "gone")
    else:
        folder.mkdir()
    for _ in range(2):
        np.testing.assert_array_equal(open_kept_session(release, "backbone")(X), expected)
    assert folder.is_dir() and not folder.is_symlink()
    assert len(prepared) == 2, "made anew once"


def test_what_onnx_runtime_refuses_is_made_anew(cache, release, prepared):
    open_kept_session(release, "backbone")
    (folder,) = kept(cache)
    nonsense = onnx_cache._Content(b"no graph", b"no weights")
    (folder / OPTIMIZED).write_bytes(nonsense.graph)
    (folder / LAID_OUT).write_bytes(nonsense.weights)
    (folder / DIGEST).write_text(nonsense.digest)
    open_kept_session(release, "backbone")
    assert kept(cache) == [folder]
    assert len(prepared) == 2


def test_another_release_processor_or_runtime_is_another_graph(cache, release, monkeypatch):
    open_kept_session(release, "backbone")
    renewed = write_files(release.folder, release.config, {RESULTS: b"{}"})
    open_kept_session(renewed, "backbone")
    monkeypatch.setattr(onnx_cache, "_processor", lambda: "avx512")
    open_kept_session(renewed, "backbone")
    monkeypatch.setattr("onnxruntime.__version__", "0.1")
    open_kept_session(renewed, "backbone")
    assert len(kept(cache)) == 4


@pytest.mark.parametrize("why", ["no folder", "no home", "no processor", "full disk"])
def test_where_nothing_can_be_kept_a_session_opens_all_the_same(
    cache, release, monkeypatch, request, why
):
    if why == "no folder":
        cache.write_text("a file")
    elif why == "no home":
        monkeypatch.delenv("CFAMC_ZOO_CACHE")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError()))
        assert cache_folder() is None
    elif why == "no processor":
        monkeypatch.setattr(onnx_cache, "_processor", lambda: None)
    else:
        monkeypatch.setenv("CFAMC_ZOO_CACHE", str(request.getfixturevalue("small_disk")))
    expected = open_session(release, "backbone")(X)
    np.testing.assert_array_equal(open_kept_session(release, "backbone")(X), expected)
    if why == "full disk":
        left = [path for path in cache_folder().rglob("*") if path.is_file()]
        assert left == []


def test_features_that_the_graph_lacks_are_refused_as_ever(cache, release):
    with pytest.raises(UsageError, match="needs --backend torch"):
        open_kept_session(release, "projection")
    assert kept(cache) == []


def test_processes_that_begin_together_agree(cache, release):
    program = (
        "import sys, json, numpy as np; from pathlib import Path\n"
        "from cfamc_zoo.zoo.onnx.cache import open_kept_session\n"
        "from cfamc_zoo.zoo.release.folder import open_release\n"
        "x = np.linspace(0, 1, 3072, dtype=np.float32).reshape(1, 3, 32, 32)\n"
        "encoder = open_kept_session(open_release(Path(sys.argv[1])), 'backbone')\n"
        "print(json.dumps(encoder(x).tolist()))\n"
    )
    command = [sys.executable, "-c", program, str(release.folder)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    seen = [json.loads(process.communicate()[0]) for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert all(vectors == seen[0] for vectors in seen)
    assert len(kept(cache)) == 1  # and nothing temporary beside it


def test_what_a_killed_process_left_is_taken_away(cache, release):
    old, new = cache / "graphs" / ".new-old", cache / "graphs" / ".new-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / LAID_OUT).write_bytes(b"half")
    os.utime(old, (0, 0))
    open_kept_session(release, "backbone")
    assert not old.exists()
    assert new.exists(), "another process may be at it"


def test_the_folder_is_the_users_own(monkeypatch, tmp_path):
    monkeypatch.delenv("CFAMC_ZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "cfamc-zoo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "cfamc-zoo"
