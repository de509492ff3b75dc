"""What goes wrong on the way from a Hub: one line, and the next pull is whole.

Every case has a repository of its own; all are pulled at once, in one process.
"""

import huggingface_hub
import pytest

from cfamc_zoo.zoo.release.folder import CONFIG, MODEL
from tests.hub import Fault, Hub, altered, cut, lost, serve, slow, status
from tests.hub.client import finish, start_pulls

# The first requests of a pull are for config.json; a large file's body comes from the CDN.
HEAD, GET = f"HEAD /REPO/resolve/*/{CONFIG}", f"GET /REPO/resolve/*/{CONFIG}"
HEAD_LARGE, LARGE = f"HEAD /REPO/resolve/*/{MODEL}", f"GET /cdn/REPO/*/{MODEL}"


def other_byte(body):
    return bytes([*body[:-1], body[-1] ^ 1])


# Version 1 of the client does not ask again for a body that did not begin in time.
LATE = "the connection for" if huggingface_hub.__version__.startswith("1.") else None

# name: (where, what, how often, what the pull says, None where the client overcomes it)
CASES = {
    "401": (HEAD, status(401), None, "not open to you"),
    "401-token": (
        HEAD,
        status(401, X_Error_Message="Invalid credentials in Authorization header"),
        None,
        "your token is not valid",
    ),
    "403": (HEAD, status(403), None, "your token does not allow it"),
    "403-gated": (HEAD, status(403, "GatedRepo"), None, "asks for access"),
    "404": (HEAD, status(404, "RepoNotFound"), None, "not on the Hub"),
    "404-revision": (HEAD, status(404, "RevisionNotFound"), None, "has no revision"),
    "404-file": (HEAD_LARGE, status(404, "EntryNotFound"), None, "has no model.safetensors"),
    "429-once": (HEAD_LARGE, status(429, Retry_After=7), 1, None),
    "429-body-once": (LARGE, status(429, Retry_After=7), 1, None),
    "429": (HEAD, status(429, Retry_After=7), None, "too many requests"),
    "500-once": (HEAD_LARGE, status(500), 1, None),
    "500": (HEAD, status(500), None, "the Hub answers 500"),
    "500-body": (LARGE, status(500), None, "the Hub answers 500"),
    "503": (HEAD, status(503), None, "the Hub answers 503"),
    "no Hub": (HEAD, status(200), None, "does not speak as a Hub does"),
    "hung up": (HEAD_LARGE, lost(), 1, "the connection for"),
    "head too late": (HEAD_LARGE, slow(1.5), 1, None),
    "body too late": (LARGE, slow(1.5), 1, LATE),
    "body never": (LARGE, slow(1.2), None, "the connection for"),
    **{f"cut at {tenth}/10": (LARGE, cut(tenth / 10), 1, None) for tenth in range(10)},
    "cut for ever": (LARGE, cut(0), None, "the connection for"),
    "config cut": (GET, cut(0.5), 1, None),
    "another byte": (LARGE, altered(other_byte), None, "is not the file that its config pins"),
    "shorter": (LARGE, altered(lambda b: b[:-1]), None, "could not be fetched"),
    "longer": (LARGE, altered(lambda b: b + b"x"), None, "could not be fetched"),
    "empty": (LARGE, altered(lambda b: b""), None, "could not be fetched"),
    "another byte once": (LARGE, altered(other_byte), 1, None),
    "changed after HEAD": (GET, altered(lambda b: b.replace(b"tiny", b"evil")), 1, None),
    "changed for ever": (GET, altered(lambda b: b.replace(b"tiny", b"evil")), 2, "changed while"),
}


@pytest.fixture(scope="module")
def outcomes(tiny_files, tmp_path_factory):
    """By case: what came of a pull under the fault, and of one after it."""
    hub, home = Hub(), tmp_path_factory.mktemp("home")
    repos = [f"zoo/tiny-{i}" for i in range(len(CASES))]
    for repo, (where, effect, times, _) in zip(repos, CASES.values(), strict=True):
        hub.add(repo, tiny_files)
        hub.faults.append(Fault(where.replace("REPO", repo), effect, times))
    faults, calls = hub.faults, [{"name": repo} for repo in repos]
    quick = {"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
    with serve(hub) as address:
        first = finish(start_pulls(address, home, calls, **quick))
        hub.faults = []
        again = finish(start_pulls(address, home, calls))
    return dict(zip(CASES, zip(first, again, faults, strict=True), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_it_is_overcome_or_one_line_and_the_next_pull_is_whole(outcomes, case):
    first, again, fault = outcomes[case]
    said = CASES[case][3]
    assert fault.hits, "the fault never happened"
    if said is None:
        assert "folder" in first, first
    else:
        assert said in first["said"]
        assert "\n" not in first["said"]
    assert "folder" in again, again


def test_the_client_waits_as_long_as_it_is_told(outcomes):
    assert outcomes["429-body-once"][0]["waited"] >= 7
