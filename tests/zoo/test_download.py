"""Pulling with the real client from a Hub on loopback."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

import cfamc_zoo
from cfamc_zoo.errors import OutputExistsError, ReleaseError, UsageError
from cfamc_zoo.zoo.catalogue.download import copy_release
from cfamc_zoo.zoo.release.folder import CARD, CONFIG, MODEL, open_release
from tests.hub import TOKEN, Hub, serve
from tests.hub.client import command, finish, pull, start_pulls
from tests.sweep import sweep

TINY = "zoo/tiny"


@pytest.fixture
def hub(tiny_files):
    hub = Hub()
    hub.add(TINY, tiny_files)
    return hub


@pytest.fixture
def address(hub):
    with serve(hub) as address:
        yield address


def body_count(hub):
    """Whole files that were sent."""
    return sum(line.startswith("GET ") and ("/cdn/" in line or "/resolve/" in line)
               for line in hub.log)  # fmt: skip


def test_a_model_is_pulled_once_and_then_comes_from_the_cache(hub, address, tiny_files, tmp_path):
    (first,) = pull(address, tmp_path, TINY)
    assert body_count(hub) == len(tiny_files)
    for name, content in tiny_files.items():
        with open(f"{first['folder']}/{name}", "rb") as file:
            assert file.read() == content
    hub.log.clear()
    assert pull(address, tmp_path, TINY)[0]["folder"] == first["folder"]
    assert body_count(hub) == 0
    hub.log.clear()
    (offline,) = pull(address, tmp_path, TINY, HF_HUB_OFFLINE="1")
    assert offline["folder"] == first["folder"]
    assert hub.log == []
    copies = [p for p in tmp_path.rglob("*") if p.is_file() and not p.is_symlink()]
    assert sum(p.stat().st_size == len(tiny_files[MODEL]) for p in copies) == 1, "no second copy"


def test_what_is_pinned_and_cached_asks_nobody(hub, address, tiny_release, tmp_path):
    pinned = {"name": TINY, "config_sha256": open_release(tiny_release).config_sha256}
    (first,) = pull(address, tmp_path, pinned)
    hub.log.clear()
    assert pull(address, tmp_path, pinned)[0]["folder"] == first["folder"]
    assert hub.log == []


def test_revisions(hub, address, tiny_files, tmp_path):
    repo = hub.repos[TINY]
    old = repo.branches["main"]
    repo.branches["v1"] = old
    config = tiny_files[CONFIG].replace(b'"name": "tiny"', b'"name": "newer"')
    repo.commit({CONFIG: config})
    new, v1, by_commit, twice, none = pull(
        address,
        tmp_path,
        TINY,
        f"{TINY}@v1",
        {"name": TINY, "revision": old},
        {"name": f"{TINY}@v1", "revision": "v1"},
        f"{TINY}@v9",
    )
    assert open_release_in(new).name == "newer"
    assert v1["folder"] == by_commit["folder"] != new["folder"]
    assert "give one of them" in twice["said"]
    assert none["code"] == 2
    assert "has no revision 'v9'" in none["said"]


def open_release_in(outcome):
    with open(f"{outcome['folder']}/{CONFIG}") as file:
        return type("Config", (), json.load(file))


def test_files_come_from_one_commit_whatever_is_pushed_meanwhile(hub, address, tmp_path):
    """A push right after config.json was fetched."""
    from tests.hub import Fault

    def push_first(proceed):
        hub.repos[TINY].commit({MODEL: b"of the next release"})
        return proceed()

    hub.faults = [Fault(f"HEAD /{TINY}/resolve/*/{MODEL}", push_first, times=1)]
    (outcome,) = pull(address, tmp_path, TINY)
    assert "folder" in outcome


def test_a_changed_remote_is_noticed(hub, address, tiny_release, tiny_files, tmp_path):
    pinned = {"name": TINY, "config_sha256": open_release(tiny_release).config_sha256}
    other = bytearray(tiny_files[MODEL])
    other[-1] ^= 1
    hub.repos[TINY].commit({MODEL: bytes(other)})
    (outcome,) = pull(address, tmp_path / "a", TINY)
    assert outcome["error"] == "ReleaseError"
    assert "is not the file that its config pins" in outcome["said"]
    config = tiny_files[CONFIG].replace(b'"name": "tiny"', b'"name": "evil"')
    hub.repos[TINY].commit({CONFIG: config, MODEL: tiny_files[MODEL]})
    free, held = pull(address, tmp_path / "b", TINY, pinned)
    assert "folder" in free, "a repository that nobody pinned pins itself"
    assert held["error"] == "ReleaseError"
    assert "expected" in held["said"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "has no config.json, so it is not a release of cfamc-zoo"),
        (b'{"model_type": "bert"}', "it has no format_version"),
        (b'{"format_version": 2}', "upgrade cfamc-zoo"),
        (b"[" * 5000, "is not JSON"),
    ],
    ids=["none", "another's", "newer", "a bomb"],
)
def test_a_foreign_repository_is_refused_before_its_weights_are_fetched(
    hub, address, tmp_path, config, said
):
    hub.repos[TINY].commit({CONFIG: config})
    (outcome,) = pull(address, tmp_path, TINY)
    assert outcome["error"] == "ReleaseError"
    assert said in outcome["said"]
    assert body_count(hub) == (config is not None)


@pytest.mark.parametrize("name", [CONFIG, MODEL, CARD])
def test_a_file_larger_than_it_may_be_is_not_fetched(hub, address, tmp_path, name):
    """The size comes from HEAD; what is right before it in the order of a pull arrived."""
    hub.repos[TINY].commit({name: b"[" * 2_000_000})
    (outcome,) = pull(address, tmp_path, TINY)
    assert outcome["error"] == "ReleaseError"
    assert f"{name} of {TINY} has 2000000 bytes, where a release has at most" in outcome["said"]
    assert not any(line.startswith("GET /") and line.endswith(name) for line in hub.log)


def test_a_repository_that_moved_since_it_was_pulled_is_noticed(hub, address, tmp_path):
    first = command(address, tmp_path, "pull", TINY)
    assert first.stderr == ""
    before = hub.repos[TINY].branches["main"]
    hub.repos[TINY].commit({CARD: b"a new card"})
    moved = command(address, tmp_path, "pull", TINY)
    said = f"{TINY} has moved on since it was last pulled; what was here is its revision {before}\n"
    assert moved.stderr == said
    assert moved.stdout != first.stdout
    named = command(address, tmp_path, "pull", TINY, "--revision", before)
    assert (named.stdout, named.stderr) == (first.stdout, "")
    assert command(address, tmp_path, "pull", TINY).stderr == "", "it is said once"


@pytest.mark.parametrize("name", [sweep("info"), "embed"])
def test_other_commands_notice_it_too(hub, address, tmp_path, name):
    command(address, tmp_path, "pull", TINY)
    before = hub.repos[TINY].branches["main"]
    hub.repos[TINY].commit({CARD: b"a new card"})
    image = tmp_path / "image.png"
    Image.new("RGB", (32, 32)).save(image)
    words = {"info": [TINY], "embed": [image, "-m", TINY, "-o", tmp_path / "e.npy"]}[name]
    said = f"{TINY} has moved on since it was last pulled; what was here is its revision {before}\n"
    assert said in command(address, tmp_path, name, *words).stderr


def test_a_cache_whose_repositories_share_blobs(hub, address, tiny_files, tmp_path):
    """The layout of huggingface_hub 2, made by its own functions: it shares what came by Xet."""
    shared = pytest.importorskip("huggingface_hub.utils._shared_blobs")
    twin, cache = "zoo/twin", tmp_path / "hub"
    hub.add(twin, tiny_files)
    folders = [Path(o["folder"]) for o in pull(address, tmp_path, TINY, twin)]
    for folder in folders:
        for link in folder.iterdir():
            blob = link.parent / link.readlink()
            digest = hashlib.sha256(blob.read_bytes()).hexdigest()
            assert shared.publish_blob_to_shared_store(
                blob_path=os.path.normpath(blob),
                xet_hash=digest,
                cache_dir=cache,
                expected_size=blob.stat().st_size,
            )
            assert Path(os.path.realpath(link)) == cache / "blobs" / digest[:2] / digest
    outcomes = pull(address, tmp_path, TINY, twin, HF_HUB_OFFLINE="1")
    assert [o["folder"] for o in outcomes] == [str(folder) for folder in folders]
    assert cfamc_zoo.load(str(folders[1]))(torch.rand(1, 3, 32, 32)).shape == (1, 32)

    outside = tmp_path / "outside"
    outside.write_bytes(tiny_files[MODEL])
    blob = folders[0] / (folders[0] / MODEL).readlink()
    for target in (outside, cache / "models--zoo--other" / "blobs" / "x", cache / "blobs" / "x"):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(tiny_files[MODEL])
        blob.unlink()
        blob.symlink_to(target)
        with pytest.raises(ReleaseError, match="is a link out of the release"):
            open_release(folders[0]).verify()


def test_a_file_that_the_repository_lacks(hub, address, tmp_path):
    hub.repos[TINY].commit({MODEL: None})
    (outcome,) = pull(address, tmp_path, TINY)
    assert f"has no {MODEL}" in outcome["said"]


def test_a_card_is_not_needed(hub, address, tmp_path):
    hub.repos[TINY].commit({CARD: None})
    assert "folder" in pull(address, tmp_path, TINY)[0]


def test_private_repositories_and_a_token_that_stays_on_the_hub(hub, address, tmp_path):
    hub.repos[TINY].private = True
    (refused,) = pull(address, tmp_path, TINY)
    assert "not on the Hub or not open to you" in refused["said"]
    (outcome,) = pull(address, tmp_path, TINY, HF_TOKEN=TOKEN)
    assert "folder" in outcome
    assert hub.authorizations["localhost"] == {None}, "where large files lie, nobody gets the token"


def test_two_processes_pull_at_once(hub, address, tmp_path):
    both = [start_pulls(address, tmp_path, [{"name": TINY}, {"name": TINY}]) for _ in range(2)]
    outcomes = [outcome for process in both for outcome in finish(process)]
    assert len({outcome["folder"] for outcome in outcomes}) == 1
    assert not list(tmp_path.rglob("*.incomplete"))


def test_no_network(address, tmp_path):
    for more in ({"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}):
        (outcome,) = pull(address, tmp_path, TINY, **more)
        assert "the Hub cannot be reached" in outcome["said"]


def test_a_local_mirror(hub, address, tiny_release, tmp_path):
    shutil.copytree(tiny_release, tmp_path / "mirror" / TINY)
    mirror = {"CFAMC_ZOO_MIRROR": str(tmp_path / "mirror"), "HF_HUB_OFFLINE": "1"}
    (outcome,) = pull(address, tmp_path / "cache", TINY, **mirror)
    assert outcome["folder"] == str(tmp_path / "mirror" / TINY)
    assert hub.log == []
    (outcome,) = pull(address, tmp_path, TINY, CFAMC_ZOO_MIRROR=str(tmp_path / "nowhere"))
    assert "is not a folder" in outcome["said"]


def test_from_the_command_line(hub, address, tmp_path, tiny_files):
    done = command(address, tmp_path, "pull", TINY, "--dest", tmp_path / "copy")
    assert done.stdout == f"{tmp_path / 'copy'}\n"
    assert {p.name for p in (tmp_path / "copy").iterdir()} == set(tiny_files)
    gone = command(address, tmp_path, "pull", "zoo/none", code=1)
    assert gone.stderr.startswith("error: zoo/none is no folder here")
    assert gone.stderr.count("\n") == 1
    named = command(address, tmp_path, "pull", TINY, "--revision", "v9", code=2)
    assert "has no revision 'v9'" in named.stderr


def test_a_copy_appears_whole_or_not_at_all(tiny_release, tmp_path):
    release = open_release(tiny_release)
    copied = copy_release(release, tmp_path / "copy")
    copied.verify()
    assert copied.config_sha256 == release.config_sha256
    assert copy_release(release, tmp_path / "copy").folder == copied.folder, "there already"
    (tmp_path / "copy" / MODEL).write_bytes(b"x")
    with pytest.raises(OutputExistsError, match="is another thing"):
        copy_release(release, tmp_path / "copy")
    with pytest.raises(UsageError, match="does not exist"):
        copy_release(release, tmp_path / "no" / "copy")
    assert {p.name for p in tmp_path.iterdir()} == {"copy"}
