"""What an organization has on a Hub, asked with the real client on loopback."""

import json
import subprocess
import sys
import time

import pytest
from huggingface_hub import constants

from cfamc_zoo.errors import HubError, UsageError
from cfamc_zoo.zoo.catalogue.listing import list_remote
from cfamc_zoo.zoo.release.folder import CARD, CONFIG, MODEL, RESULTS, open_release, write_files
from cfamc_zoo.zoo.release.results import OWN_PROTOCOL
from tests.hub import TOKEN, Fault, Hub, serve, status
from tests.hub.client import command, environment

OVERVIEW, MODELS = "GET /api/organizations/*", "GET /api/models"
TAGGED = b"---\nlibrary_name: cfamc-zoo\n---\n"


@pytest.fixture
def measured_files(tiny_release, tiny_files, tmp_path):
    """A release with an accuracy: the row of a difference, with other keys."""
    row = json.loads(tiny_files[RESULTS])[0]
    del row["feature"], row["limit"]
    accuracy = {"protocol": OWN_PROTOCOL, "metric": "clean accuracy", "data": "cifar10"}
    rows = [row | accuracy | {"n": 10_000, "value": 54.13, "low": 53.2, "high": 55.1}]
    folder = tmp_path / "measured"
    config = open_release(tiny_release).config
    folder.mkdir()
    write_files(folder, config, {RESULTS: json.dumps(rows).encode()})
    return tiny_files | {name: (folder / name).read_bytes() for name in (CONFIG, RESULTS)}


@pytest.fixture
def hub(tiny_files, measured_files):
    """Two releases among repositories that are none, more than fit on a page."""
    hub = Hub()
    hub.organizations = ["zoo", "empty"]
    hub.add("zoo/bert", {CONFIG: b'{"model_type": "bert"}', MODEL: b"x", CARD: b"# BERT"})
    hub.add("zoo/tiny", tiny_files)
    hub.add("zoo/pretender", {CONFIG: b'{"model_type": "bert"}', MODEL: b"x", CARD: TAGGED})
    hub.add("zoo/no-weights", {CONFIG: tiny_files[CONFIG], CARD: TAGGED})
    hub.add("zoo/huge", {CONFIG: b"[" * 2_000_000, MODEL: b"x", CARD: TAGGED})
    hub.add("zoo/measured", measured_files)
    hub.add("zoo/hidden", tiny_files, private=True)
    hub.add("others/tiny", tiny_files)
    return hub


@pytest.fixture
def address(hub, monkeypatch, tmp_path):
    """The client in this process speaks with the loopback Hub, and its retries are quick."""
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.01)))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with serve(hub) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        yield address


def listed(address, home, *arguments, **more):
    """The command in a process that says whether torch came in."""
    script = (
        "import sys\n"
        "from cfamc_zoo.cli.app import run\n"
        "code = run(sys.argv[1:])\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "list", *arguments],
        capture_output=True,
        text=True,
        env=environment(address, home, **more),
    )
    assert done.returncode == 0, done.stderr
    return done


def test_releases_are_listed_from_every_page_and_others_are_not(hub, address, tmp_path):
    done = listed(address, tmp_path, "--remote", "zoo")
    header, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert header[:5] == ["name", "backbone", "data threat", "clean", "4/255"]
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("zoo/tiny", "linf 8/255", "-"),
        ("zoo/measured", "cifar10 linf 8/255", "54.13"),
    ]
    assert hub.count(MODELS) >= 3, "pages"
    assert hub.count("GET /cdn/") == 0, "no weights"
    left_out = [line for line in done.stderr.splitlines() if line.startswith("left out")]
    assert [line.split(":")[0] for line in left_out] == [
        "left out zoo/pretender",
        "left out zoo/huge",
    ]
    assert hub.count("GET /zoo/huge/") == 0, "refused by its size, before it is fetched"
    assert "bert" not in done.stdout + done.stderr


def test_json_names_what_a_pull_needs_and_a_token_opens_more(hub, address, tmp_path):
    done = listed(address, tmp_path, "--remote", "zoo", "--json", HF_TOKEN=TOKEN)
    models = {model["name"]: model for model in json.loads(done.stdout)["models"]}
    assert set(models) == {"zoo/tiny", "zoo/measured", "zoo/hidden"}
    assert models["zoo/tiny"]["revision"] == hub.repos["zoo/tiny"].branches["main"]
    assert models["zoo/measured"]["results"][0]["value"] == 54.13
    left_out = json.loads(done.stdout)["left_out"]
    assert set(left_out) == {"zoo/pretender", "zoo/huge"}
    assert "is not fetched" in left_out["zoo/huge"]
    assert TOKEN not in done.stdout + done.stderr


def test_an_organization_without_models_says_so(address, tmp_path):
    done = listed(address, tmp_path, "--remote", "empty")
    assert "empty has no models that cfamc-zoo can read" in done.stderr
    assert done.stdout.count("\n") == 1, "the headers alone"
    answer = json.loads(listed(address, tmp_path, "--remote", "empty", "--json").stdout)
    assert answer == {"models": [], "left_out": {}}


INVALID = status(401, X_Error_Message="Invalid credentials in Authorization header")


@pytest.mark.parametrize(
    ("where", "effect", "said"),
    [
        (OVERVIEW, INVALID, "the Hub answers 401 for zoo"),
        (MODELS, INVALID, "the Hub answers 401 for zoo"),
        (OVERVIEW, status(429, Retry_After=3), "too many requests"),
        (MODELS, status(500), "the Hub answers 500"),
        (OVERVIEW, lambda proceed: text(b"<html>"), "does not speak as a Hub does"),
        (MODELS, lambda proceed: text(b"<html>"), "does not speak as a Hub does"),
        (MODELS, lambda proceed: text(b'["x"]'), "does not speak as a Hub does"),
        (MODELS, lambda proceed: text(b'[{"siblings": 1}]'), "does not speak as a Hub does"),
    ],
)
def test_what_goes_wrong_is_one_line(hub, address, where, effect, said):
    hub.faults = [Fault(where, effect)]
    with pytest.raises(HubError) as error:
        list_remote("zoo")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_one_repository_that_cannot_be_asked_is_not_passed_over(hub, address, tmp_path):
    hub.faults = [Fault("HEAD /zoo/tiny/*", status(403))]
    done = command(address, tmp_path, "list", "--remote", "zoo", code=1)
    assert "the Hub answers 403 for zoo/tiny" in done.stderr
    assert done.stdout == ""


def text(body):
    from tests.hub.faults import Response

    return Response(200, {}, body)


def test_owners_that_are_not_there_and_a_hub_that_is_not(address, monkeypatch):
    with pytest.raises(HubError, match="knows no organization or user 'nobody'"):
        list_remote("nobody")
    with pytest.raises(UsageError, match="cannot be an organization"):
        list_remote("zoo/tiny")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubError, match="the connection for zoo broke"):
        list_remote("zoo")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        list_remote("zoo")
