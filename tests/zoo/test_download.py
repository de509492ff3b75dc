"""Pulling with the real client from a Hub on loopback, and what goes wrong on the way."""

import json
import os
import subprocess
import sys

import pytest

from cfamc_zoo.errors import OutputExistsError, UsageError
from cfamc_zoo.zoo.download import copy_release
from cfamc_zoo.zoo.weights import CONFIG, MODEL, open_release
from tests.hub import Hub, serve

PULL = """
import json, sys
from cfamc_zoo.errors import ZooError
from cfamc_zoo.zoo.download import pull_release
from cfamc_zoo.zoo.registry import ModelSpec
spec = ModelSpec(name="tiny", title="", architecture={}, preprocess={}, recipe="", licence="",
    repo="zoo/tiny", revision="main", config_sha256=sys.argv[1], bundled=False,
    threat_model={}, results=[])
try:
    print(pull_release(spec, revision=json.loads(sys.argv[2])).folder)
except ZooError as error:
    sys.exit(f"{error.exit_code} {error}")
"""


@pytest.fixture
def hub(tiny_release):
    return Hub("zoo/tiny", {f.name: f.read_bytes() for f in tiny_release.iterdir()})


@pytest.fixture
def pull(hub, tiny_release, tmp_path):
    """Pulls in a process of its own, with a cache of its own."""
    pinned = open_release(tiny_release).config_sha256

    def run(*, revision=None, code=0, offline="0", endpoint=None):
        with serve(hub) as address:
            environment = os.environ | {
                "HF_ENDPOINT": endpoint or address,
                "HF_HOME": str(tmp_path / "cache"),
                "HF_HUB_OFFLINE": offline,
                "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_ETAG_TIMEOUT": "2",
                "HF_HUB_DOWNLOAD_TIMEOUT": "2",
                "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            }
            done = subprocess.run(
                [sys.executable, "-c", PULL, pinned, json.dumps(revision)],
                capture_output=True,
                text=True,
                env=environment,
                timeout=120,
            )
        assert (done.returncode == 0) == (code == 0), done.stderr
        said = done.stderr.strip().splitlines()
        assert "Traceback" not in done.stderr
        if code:
            assert said[-1].startswith(f"{code} "), said
        return done.stdout.strip() if not code else said[-1]

    return run


def test_a_model_is_pulled_once_and_then_comes_from_the_cache(hub, pull, tiny_release):
    folder = pull()
    assert sorted(hub.served) == sorted(f.name for f in tiny_release.iterdir())
    hub.served.clear()
    assert pull() == folder
    assert pull(offline="1") == folder
    assert hub.served == []


def test_an_altered_remote_is_refused(hub, pull):
    content = bytearray(hub.files[MODEL])
    content[-1] ^= 1
    hub.files[MODEL] = bytes(content)
    assert "is not the file that its config pins" in pull(code=1)


def test_an_altered_config_is_refused(hub, pull):
    hub.files[CONFIG] = hub.files[CONFIG].replace(b'"tiny"', b'"evil"', 1)
    assert "expected" in pull(code=1)


def test_a_repository_that_is_no_release(hub, pull):
    del hub.files[CONFIG]
    assert "has no config.json" in pull(code=1)


def test_a_cut_connection_is_no_release_and_the_next_pull_is_whole(hub, pull):
    hub.cut = len(hub.files[MODEL]) // 2
    assert "could not be fetched" in pull(code=1)
    hub.cut = None
    assert pull()


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ((401, "RepoNotFound"), 1, "not on the Hub or not open to you"),
        ((404, "RepoNotFound"), 1, "not on the Hub or not open to you"),
        ((403, "GatedRepo"), 1, "asks for access"),
        ((404, "RevisionNotFound"), 2, "has no revision"),
        ((500, ""), 1, "zoo/tiny"),
    ],
)
def test_what_the_hub_answers_is_one_line(hub, pull, answer, code, said):
    hub.answer = answer
    assert said in pull(code=code)


def test_other_revisions(hub, pull):
    assert pull(revision=hub.commit)
    assert "has no revision 'v9'" in pull(revision="v9", code=2)


def test_no_network(pull):
    assert "the Hub cannot be reached" in pull(endpoint="http://127.0.0.1:9", code=1)
    assert "the Hub cannot be reached" in pull(offline="1", code=1)


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
