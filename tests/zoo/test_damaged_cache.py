"""Files that are damaged in the Hub's cache: dropped, fetched again once, and it is said."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from cfamc_zoo.errors import StorageError
from cfamc_zoo.zoo.catalogue import download
from cfamc_zoo.zoo.catalogue.registry import default_model
from cfamc_zoo.zoo.catalogue.resolve import REINSTALL, resolve
from cfamc_zoo.zoo.release.folder import CARD, CONFIG, MODEL, RESULTS, open_release
from tests.hub import Hub, serve
from tests.hub.client import command, finish, pull, start_pulls


def blob(path):
    return path.parent / path.readlink()


def cut(path):
    blob(path).write_bytes(blob(path).read_bytes()[:1000])


def flip(path):
    content = blob(path).read_bytes()
    blob(path).write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])


def empty(path):
    blob(path).write_bytes(b"")


def folder(path):
    place = blob(path)
    place.unlink()
    place.mkdir()
    (place / "file").write_bytes(b"x")


def dangling(path):
    blob(path).unlink()


def to_another(path):
    other = CARD if path.name != CARD else CONFIG
    path.unlink()
    path.symlink_to((path.parent / other).readlink())


def to_outside(path):
    outside = outside_of(path)
    outside.write_bytes(b"somebody's own")
    path.unlink()
    path.symlink_to(outside)


def outside_of(path):
    return path.parents[4] / f"outside-{path.parents[2].name}-{path.name}"


def to_itself(path):
    path.unlink()
    path.symlink_to(path.name)


def no_link(path):
    """As in a cache without links, which Windows has."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:100])


def a_folder_for_the_link(path):
    path.unlink()
    path.mkdir()


DAMAGES = (
    *(cut, flip, empty, folder, dangling, to_another, to_outside, to_itself, no_link),
    a_folder_for_the_link,
)
CASES = {f"{name}, {damage.__name__}": (name, damage)
         for name in (CONFIG, MODEL) for damage in DAMAGES
         if (name, damage) != (CONFIG, to_another)}  # fmt: skip


@pytest.fixture(scope="module")
def hub(tiny_files):
    hub = Hub()
    for i in range(len(CASES)):
        hub.add(f"zoo/tiny-{i}", tiny_files)
    hub.add("zoo/tiny", tiny_files)
    return hub


@pytest.fixture(scope="module")
def address(hub):
    with serve(hub) as address:
        yield address


@pytest.fixture(scope="module")
def whole(hub, address, tmp_path_factory):
    """A cache that holds every repository; do not write into it."""
    home = tmp_path_factory.mktemp("whole")
    assert all("folder" in o for o in finish(start_pulls(address, home, calls(hub))))
    return home


def calls(hub):
    return [{"name": repo} for repo in hub.repos]


def snapshot(home, repo="zoo/tiny"):
    (found,) = (home / "hub" / f"models--{repo.replace('/', '--')}" / "snapshots").iterdir()
    return found


@pytest.fixture
def home(whole, tmp_path):
    """The whole cache of zoo/tiny, to damage."""
    shutil.copytree(
        whole / "hub" / "models--zoo--tiny", tmp_path / "hub" / "models--zoo--tiny", symlinks=True
    )
    return tmp_path


@pytest.fixture(scope="module")
def outcomes(hub, address, whole, tmp_path_factory):
    """By case: what came of a pull without a network, of one with it, and of one after it."""
    home = tmp_path_factory.mktemp("damaged") / "home"
    shutil.copytree(whole, home, symlinks=True)
    for i, (name, damage) in enumerate(CASES.values()):
        damage(snapshot(home, f"zoo/tiny-{i}") / name)
    offline = finish(start_pulls(address, home, calls(hub), HF_HUB_OFFLINE="1"))
    online = finish(start_pulls(address, home, calls(hub)))
    again = finish(start_pulls(address, home, calls(hub), HF_HUB_OFFLINE="1"))
    return dict(zip(CASES, zip(offline, online, again, strict=True), strict=False)), home


@pytest.mark.parametrize("case", CASES)
def test_a_pull_mends_it_and_without_a_network_says_so(outcomes, tiny_files, case):
    offline, online, again = outcomes[0][case]
    assert offline["error"] == "HubError"
    assert "network" in offline["said"]
    assert "folder" in online, online
    assert again == online | {"waited": again["waited"]}
    name, damage = CASES[case]
    path = Path(online["folder"], name)
    assert path.read_bytes() == tiny_files[name]
    assert path.resolve().parent.name == "blobs"
    if damage is to_outside:
        assert outside_of(path).read_bytes() == b"somebody's own", "not ours to delete"


def test_it_is_said_once(address, home):
    cut(snapshot(home) / MODEL)
    done = command(address, home, "pull", "zoo/tiny")
    assert done.stderr == f"{MODEL} of zoo/tiny was damaged; it was dropped and fetched again\n"
    assert command(address, home, "pull", "zoo/tiny").stderr == ""


@pytest.mark.parametrize("name", [CONFIG, RESULTS])
def test_other_commands_mend_it_too(address, home, name):
    flip(snapshot(home) / name)
    done = command(address, home, "info", "zoo/tiny")
    assert f"{name} of zoo/tiny was damaged" in done.stderr


def test_embedding_mends_it(address, home, tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    cut(snapshot(home) / MODEL)
    words = [tmp_path / "a.png", "-m", "zoo/tiny", "-o", tmp_path / "e.npy"]
    assert f"{MODEL} of zoo/tiny was damaged" in command(address, home, "embed", *words).stderr


def test_a_damaged_card_is_fetched_again(address, home, tiny_files):
    cut(snapshot(home) / CARD)
    pull(address, home, "zoo/tiny")
    assert (snapshot(home) / CARD).read_bytes() == tiny_files[CARD]


def test_what_is_pinned_is_mended_too(address, home, tiny_release):
    pinned = {"name": "zoo/tiny", "config_sha256": open_release(tiny_release).config_sha256}
    for name in (CONFIG, MODEL):
        flip(snapshot(home) / name)
        assert "folder" in pull(address, home, pinned)[0]


def test_a_repository_that_contradicts_itself_is_not_fetched_twice(hub, tiny_files, tmp_path):
    hub = Hub()
    hub.add("zoo/wrong", {**tiny_files, MODEL: tiny_files[MODEL][:-1] + b"\xff"})
    with serve(hub) as address:
        (outcome,) = pull(address, tmp_path, "zoo/wrong")
    assert "in the repository itself; ask its owner" in outcome["said"]
    assert sum(line.startswith("GET ") and line.endswith(MODEL) for line in hub.log) == 1


def test_a_cache_that_cannot_be_written(home, monkeypatch):
    def refuse(path, missing_ok=False):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StorageError, match="cannot be replaced: Permission denied.*set HF_HOME"):
        download._drop(snapshot(home) / MODEL)


def test_a_damaged_model_of_the_package_asks_for_a_new_one(tmp_path, monkeypatch):
    name = default_model()
    shutil.copytree(resolve(name).folder, tmp_path / name)
    monkeypatch.setattr(
        "cfamc_zoo.zoo.catalogue.resolve.bundled_folder", lambda name: tmp_path / name
    )
    for file in (MODEL, CONFIG):
        (tmp_path / name / file).write_bytes(b"x")
        with pytest.raises(Exception, match="is not the file|has sha256") as error:
            resolve(name).verify()
        assert str(error.value).endswith(REINSTALL)
