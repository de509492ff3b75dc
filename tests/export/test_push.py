"""Publishing with the real client to a Hub on loopback, and what goes wrong on the way."""

import dataclasses
import json
import shutil

import pytest
from huggingface_hub import constants

from cfamc_zoo.cli.app import run
from cfamc_zoo.errors import HubError, ReleaseError, UsageError
from cfamc_zoo.export.card import render_release
from cfamc_zoo.export.push import plan_push, push
from cfamc_zoo.zoo.release.folder import CARD, GRAPH, MODEL, PROJECTOR, open_release, write_files
from tests import inside
from tests.hub import TOKEN, Fault, Hub, lost, slow, status
from tests.hub.client import command, pull
from tests.hub.here import client_of

TINY = "zoo/tiny"


@pytest.fixture
def hub():
    return Hub()


@pytest.fixture
def address(hub, tmp_path):
    with client_of(hub, tmp_path / "cache") as address:
        yield address


@pytest.fixture
def release(tiny_release, tmp_path):
    return open_release(shutil.copytree(tiny_release, tmp_path / "release"))


def changes(plan):
    return {file.name: file.change for file in plan.files}


def test_one_commit_and_the_same_again_is_none(hub, address, release):
    plan = plan_push(release, TINY)
    assert plan.creates == "repository"
    assert set(changes(plan).values()) == {"new"}
    assert hub.repos == {}, "a plan writes nothing"
    first = push(plan)
    assert first.made
    assert first.url == f"{address}/{TINY}"
    repo = hub.repos[TINY]
    assert [c.title for c in repo.commits] == ["initial commit", "Release"]
    assert repo.files()[MODEL] == release.read(MODEL)
    assert repo.files()[CARD].decode() == render_release(release)

    uploads = hub.count("PUT /lfs/")
    again = push(plan_push(release, TINY))
    assert again.commit == first.commit
    assert not again.made
    assert len(repo.commits) == 2
    assert hub.count("PUT /lfs/") == uploads


def test_what_was_pushed_can_be_pulled(hub, address, release, tmp_path):
    push(plan_push(release, TINY))
    (outcome,) = pull(address, tmp_path / "home", TINY)
    assert "folder" in outcome


def test_large_files_go_in_parts(hub, address, release):
    hub.part_size = 20_000
    push(plan_push(release, TINY))
    assert hub.count("PUT /lfs/") > 5
    assert hub.repos[TINY].files()[MODEL] == release.read(MODEL)


def test_a_smaller_release_takes_the_old_files_away(hub, address, release):
    push(plan_push(release, TINY))
    files = {k: v for k, v in release.config.files.items() if k != PROJECTOR}
    smaller = write_files(release.folder, dataclasses.replace(release.config, files=files), {})
    plan = plan_push(smaller, TINY)
    assert changes(plan)[PROJECTOR] == "removed"
    assert changes(plan)[MODEL] == "same"
    push(plan)
    assert PROJECTOR not in hub.repos[TINY].files()
    assert ".gitattributes" in hub.repos[TINY].files(), "what is not ours stays"


def test_private_repositories(hub, address, release):
    push(plan_push(release, TINY, visibility="private"))
    assert hub.repos[TINY].private
    push(plan_push(release, TINY))
    assert hub.repos[TINY].private, "nothing is opened by a later push"
    push(plan_push(release, "zoo/open"))
    with pytest.raises(UsageError, match="is there and public"):
        plan_push(release, "zoo/open", visibility="private")


def test_branches(hub, address, release):
    push(plan_push(release, TINY))
    renamed = write_files(release.folder, dataclasses.replace(release.config, name="v2"), {})
    plan = plan_push(renamed, TINY, branch="v2")
    assert plan.creates == "branch"
    assert changes(plan)[MODEL] == "same"
    pushed = push(plan)
    assert pushed.url == f"{address}/{TINY}/tree/v2"
    assert hub.repos[TINY].branches["main"] != pushed.commit
    assert b'"v2"' in hub.repos[TINY].files("v2")["config.json"]
    fresh = push(plan_push(renamed, "zoo/fresh", branch="dev"))
    assert hub.repos["zoo/fresh"].branches["dev"] == fresh.commit


def test_someone_else_committed_since_the_plan(hub, address, release):
    hub.add(TINY, {CARD: b"old"})
    plan = plan_push(release, TINY)
    hub.repos[TINY].commit({CARD: b"of someone else"})
    with pytest.raises(HubError, match="someone else committed meanwhile"):
        push(plan)
    assert hub.repos[TINY].files()[CARD] == b"of someone else"


def test_a_lost_answer_to_the_commit_is_not_a_second_commit(hub, address, release):
    hub.faults = [Fault("POST /api/models/*/commit/*", lost(), times=1)]
    pushed = push(plan_push(release, TINY))
    assert pushed.made
    assert pushed.commit == hub.repos[TINY].branches["main"]
    assert not push(plan_push(release, TINY)).made
    assert len(hub.repos[TINY].commits) == 2


def test_a_push_that_broke_goes_on_where_it_was(hub, address, release):
    hub.faults = [Fault("POST /api/models/*/commit/*", status(500))]
    with pytest.raises(HubError, match="the Hub answers 500"):
        push(plan_push(release, TINY))
    uploads = hub.count("PUT /lfs/")
    hub.faults = []
    assert push(plan_push(release, TINY)).made
    assert hub.count("PUT /lfs/") == uploads, "what is there is not sent again"
    assert len(hub.repos[TINY].commits) == 2


INVALID = status(401, X_Error_Message="Invalid credentials in Authorization header")
FAULTS = {  # (where, what, how often, what is said, None where the client overcomes it)
    "no such token": ("GET /api/whoami-v2", INVALID, None, "your token is not valid"),
    "no right to create": ("POST /api/repos/create", status(403), None, "does not allow it"),
    "no right to commit": ("POST /api/models/*/commit/*", status(403), None, "does not allow it"),
    "gated": (f"GET /api/models/{TINY}/*", status(403, "GatedRepo"), None, "asks for access"),
    "too many": ("POST /api/models/*/preupload/*", status(429, Retry_After=3), None, "429"),
    "too many once": ("POST /api/models/*/preupload/*", status(429, Retry_After=3), 1, None),
    "broken store": ("PUT /lfs/*", status(500), None, "the Hub answers 500"),
    "broken store once": ("PUT /lfs/*", status(500), 1, None),
    "upload hung up": ("PUT /lfs/*", lost(), 2, None),
    "upload refused": ("PUT /lfs/*", status(400), None, "the Hub answers 400"),
    "verify fails": ("POST /lfs/*/verify", status(404), None, "the Hub answers 404"),
    "batch hung up": ("POST */info/lfs/objects/batch", lost(), 1, None),
    "create hung up": ("POST /api/repos/create", lost(), None, "the connection for"),
    "metadata": ("POST /api/validate-yaml", status(400), None, "zoo/tiny"),
    "slow": ("POST */info/lfs/objects/batch", slow(0.3), 1, None),
    "no Hub": (f"GET /api/models/{TINY}/*", status(200), None, "does not speak as a Hub does"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_are_one_line_leave_one_commit_and_no_token(hub, address, release, case):
    where, effect, times, said = FAULTS[case]
    hub.faults = [Fault(where, effect, times)]
    if said is None:
        assert push(plan_push(release, TINY)).made
    else:
        with pytest.raises(HubError) as error:
            push(plan_push(release, TINY))
        assert said in str(error.value)
        assert "\n" not in str(error.value)
        assert TOKEN not in str(error.value)
    assert hub.faults[0].hits, "the fault never happened"
    hub.faults = []
    push(plan_push(release, TINY))
    assert [c.title for c in hub.repos[TINY].commits] == ["initial commit", "Release"]


def test_owners_that_are_not_mine(hub, address, release):
    with pytest.raises(HubError, match="does not allow it"):
        push(plan_push(release, "others/tiny"))
    with pytest.raises(UsageError, match="cannot be a repository"):
        plan_push(release, "no slash or//two")


def test_no_token(hub, address, release, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(HubError, match="log in with `hf auth login`, or set HF_TOKEN"):
        push(plan_push(release, TINY))
    assert hub.repos == {}


def test_from_the_command_line(hub, address, release, tmp_path):
    arguments = ["push", release.folder, TINY]
    dry = inside.cfamc_zoo(*arguments, "--dry-run", "--private")
    assert dry.stdout == render_release(release)
    assert "would make private repository zoo/tiny" in dry.stderr
    assert release.config.files[MODEL].sha256[:12] in dry.stderr
    assert not hub.repos
    done = command(address, tmp_path, *arguments, "--json", HF_TOKEN=TOKEN)
    answer = json.loads(done.stdout)
    assert answer["commit"] == hub.repos[TINY].branches["main"]
    assert TOKEN not in done.stdout + done.stderr

    content = bytearray((release.folder / GRAPH).read_bytes())
    content[100] ^= 1
    (release.folder / GRAPH).write_bytes(content)
    hub.log.clear()
    refused = inside.cfamc_zoo(*arguments, code=1)
    assert "is not the file that its config pins" in refused.stderr
    assert hub.log == [], "nobody was asked"


@pytest.mark.parametrize("offline", [True, False])
def test_a_dry_run_needs_no_network(release, monkeypatch, capsys, offline):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    words = ["push", str(release.folder), TINY]
    assert run([*words, "--dry-run"]) == 0
    dry = capsys.readouterr()
    assert dry.out == render_release(release)
    assert release.config.files[MODEL].sha256[:12] in dry.err
    assert dry.err.splitlines()[-1].startswith("the Hub was not asked")
    assert "would make" not in dry.err
    assert run([*words, "--dry-run", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert not answer["asked"]
    assert {file["change"] for file in answer["files"]} == {"unknown"}
    assert run(words) == 1
    assert capsys.readouterr().err.startswith("error: the ")
    (release.folder / MODEL).write_bytes(b"x")
    assert run([*words, "--dry-run"]) == 1
    assert "is not the file that its config pins" in capsys.readouterr().err


def test_a_training_run_is_no_release_yet(release):
    files = {k: v for k, v in release.config.files.items() if k != GRAPH}
    bare = write_files(release.folder, dataclasses.replace(release.config, files=files), {})
    with pytest.raises(ReleaseError, match="make a whole release with `cfamc-zoo export`"):
        plan_push(bare, TINY)
