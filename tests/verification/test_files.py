"""Files that are not what pins them: the registry pins config.json, which pins the others."""

from dataclasses import replace

import pytest

from cfamc_zoo.cli.app import run
from cfamc_zoo.zoo.catalogue import registry
from cfamc_zoo.zoo.release.folder import (
    CARD,
    CONFIG,
    GOLDEN,
    GRAPH,
    MODEL,
    PROBE,
    RESULTS,
    open_release,
)

from .conftest import change_rows, claim_more, failed


@pytest.fixture
def pinned(monkeypatch):
    """Makes the registry know "tiny" by the sha256 of its config."""

    def pinned(digest):
        known = registry.known_models()
        spec = known[registry.default_model()]
        tiny = replace(spec, name="tiny", repo="zoo/tiny", config_sha256=digest, bundled=False)
        monkeypatch.setattr(registry, "known_models", lambda: {**known, "tiny": tiny})

    return pinned


def test_altered_results_are_not_the_pinned_ones(card, verify):
    text = (card / RESULTS).read_text()
    (card / RESULTS).write_text(text.replace('"value": ', '"value":  ', 1))
    code, findings, said = verify(card)
    assert code == 1
    assert failed(findings) == {RESULTS: "does not hold"}
    assert "not the file that its config pins" in said


@pytest.mark.parametrize("name", [MODEL, PROBE, GRAPH, GOLDEN])
def test_any_other_altered_file_is_not_the_pinned_one(card, verify, name):
    content = bytearray((card / name).read_bytes())
    content[-3] ^= 1
    (card / name).write_bytes(content)
    code, findings, _ = verify(card, "--limit", 4)
    assert code == 1
    assert failed(findings)[name] == "does not hold"


def test_a_card_is_compared_with_what_follows_from_the_release(card, verify):
    text = (card / CARD).read_text()
    (card / CARD).write_text(text.replace("| clean", "| very clean", 1) + "\nBest of all.\n")
    code, findings, said = verify(card, "--limit", 4)
    assert code == 1
    assert failed(findings) == {CARD: "does not hold"}
    assert f"of {CARD} is " in said and "does not follow from the release" in said


def test_a_card_from_before_the_name_was_known_still_follows(card, verify, pinned):
    pinned(open_release(card).config_sha256)
    assert "ORGANIZATION/NAME" in (card / CARD).read_text(), "as of a name that nobody knows"
    code, findings, _ = verify(card, "--limit", 4)
    assert code == 0
    assert findings[CARD]["verdict"] == findings[CONFIG]["verdict"] == "holds"


def test_of_an_altered_card_the_line_is_told_that_was_altered(card, verify, pinned):
    """Not one that is worded otherwise since the name is known."""
    pinned(open_release(card).config_sha256)
    text = (card / CARD).read_text()
    (card / CARD).write_text(f"{text}Best of all.\n")
    code, findings, _ = verify(card, "--limit", 4)
    assert code == 1
    assert findings[CARD]["measured"] == f"line {len(text.splitlines()) + 1} is other"


def test_what_bears_a_known_name_must_be_what_the_registry_pins(card, verify, pinned):
    pinned(open_release(card).config_sha256)
    change_rows(card, claim_more)
    code, findings, said = verify(card, "--limit", 4)
    assert code == 1
    assert findings[CONFIG]["verdict"] == "does not hold"
    assert "this is not the tiny that the zoo pins; `cfamc-zoo pull tiny` fetches that" in said


def test_another_pin_in_the_registry_is_refused_by_name(pinned, capsys, monkeypatch):
    name = registry.default_model()
    spec = replace(registry.find_model(name), config_sha256="0" * 64)
    monkeypatch.setattr("cfamc_zoo.zoo.catalogue.resolve.known_models", lambda: {name: spec})
    assert run(["verify", name]) == 1
    assert "expected 000000000000..." in capsys.readouterr().err
