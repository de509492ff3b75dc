"""A claim that holds, and one test for each way in which it may not."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from cfamc_zoo.cli.app import run
from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.evaluation.intervals import wilson
from cfamc_zoo.verification import accuracies as measuring
from cfamc_zoo.verification.again import read_command
from cfamc_zoo.verification.finding import Terms
from cfamc_zoo.verification.vectors import check_golden
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
    write_files,
)
from cfamc_zoo.zoo.release.results import accuracies, parse_rows, read_results

from .conftest import IMAGES, change_rows, repin

CLEAN, PGD = "clean, cifar10-sample", "PGD-2 1/255, cifar10-sample"


def failed(findings):
    return {s: f["verdict"] for s, f in findings.items() if f["verdict"] == "does not hold"}


def change_tensors(folder, name, change):
    """A file of weights with another value, its size as it was."""
    content = (folder / name).read_bytes()
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__")
    (folder / name).write_bytes(save(change(load(content)), metadata))


def test_an_untouched_release_holds_image_by_image(measured, verify):
    code, findings, said = verify(measured)
    assert code == 0
    assert {f["verdict"] for s, f in findings.items() if s != CONFIG} == {"holds"}
    assert findings[CONFIG]["verdict"] == "not stored", "no registry knows it"
    for subject in (CLEAN, PGD):
        assert findings[subject]["numbers"]["images"] == IMAGES
        assert findings[subject]["numbers"]["differing"] == 0
        assert findings[subject]["measured"].endswith(f"%, 0/{IMAGES} differ")
    assert {f["check"] for f in findings.values()} == {
        *("registry", "files", "card", "onnx", "golden values", "accuracies")
    }
    assert "warning" not in said


def test_measure_keeps_the_verdicts_of_the_sample(measured):
    rows = accuracies(read_results(open_release(measured)))
    assert [row.metric for row in rows] == ["clean accuracy", "robust accuracy"]
    for row in rows:
        assert len(row.correct) == row.n == IMAGES
        assert row.value == pytest.approx(100 * row.correct.count("1") / row.n, abs=1e-4)
    clean, robust = rows
    assert all(c >= r for c, r in zip(clean.correct, robust.correct, strict=True))


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


def test_a_better_value_contradicts_the_verdicts_that_are_there(card, verify):
    change_rows(card, lambda row: replace(row, value=99.0))
    code, findings, said = verify(card)
    assert code == 1
    assert set(failed(findings)) == {CLEAN, PGD}
    assert "the card says 99% of 40 images, its own verdicts say that" in said


def test_a_narrower_interval_is_not_that_of_its_value(card, verify):
    change_rows(card, lambda row: replace(row, low=row.value, high=row.value))
    code, findings, said = verify(card)
    assert code == 1
    assert set(failed(findings)) == {CLEAN, PGD}
    assert "but the 95% interval of" in said


def claim_more(row):
    """Every image stands, consistently."""
    low, high = (round(100 * end, 4) for end in wilson(row.n, row.n))
    return replace(row, correct="1" * row.n, value=100.0, low=low, high=high)


def test_an_attack_that_finds_more_than_the_card_says_lowers_the_claim(card, verify):
    change_rows(card, claim_more)
    code, findings, said = verify(card)
    assert code == 1
    assert findings[PGD]["verdict"] == "lowered"
    assert findings[CLEAN]["verdict"] == "does not hold", "no attack lowers a clean accuracy"
    assert "the attack finds more than the card says" in said
    assert "upper bound, and this one is lowered from 100.00% to" in said


def test_the_mean_may_be_right_by_luck_and_the_images_others(card, verify):
    """As many stand, but not the same ones."""
    change_rows(card, lambda row: replace(row, correct=row.correct[::-1]))
    code, findings, _ = verify(card)
    assert code == 1
    assert set(failed(findings)) == {CLEAN, PGD}
    for subject in (CLEAN, PGD):
        numbers = findings[subject]["numbers"]
        assert numbers["claim"] == pytest.approx(numbers["measured"])
        assert numbers["differing"] > numbers["allowed"]


def test_a_row_whose_command_measures_something_else_does_not_hold(card, verify):
    change_rows(card, lambda row: replace(row, command=row.command.replace("1/255", "0.001/255")))
    code, findings, said = verify(card)
    assert code == 1
    assert findings[PGD]["verdict"] == "does not hold"
    assert "its command measures something else than it says" in said


def test_a_command_that_is_not_ours_is_never_run(card, verify, tmp_path):
    bad = tmp_path / "bad"
    change_rows(card, lambda row: replace(row, command=f"touch {bad}; {row.command}"))
    code, findings, said = verify(card)
    assert code == 1
    assert {findings[s]["verdict"] for s in (CLEAN, PGD)} == {"cannot be checked"}
    assert "cannot be followed" in said
    assert not bad.exists()


def test_another_head_pinned_anew_gives_other_accuracies(card, verify):
    change_tensors(card, PROBE, lambda t: {**t, "weight": -t["weight"]})
    repin(card, PROBE)
    code, findings, _ = verify(card)
    assert code == 1
    assert findings[PROBE]["verdict"] == "holds", "it is what the config pins"
    assert set(failed(findings)) >= {CLEAN}


def test_other_weights_pinned_anew_give_other_vectors(card, verify):
    def other(tensors):
        name = max(tensors, key=lambda name: tensors[name].numel())
        return {**tensors, name: tensors[name] * 1.01}

    change_tensors(card, MODEL, other)
    repin(card, MODEL)
    code, findings, _ = verify(card, "--limit", 4)
    assert code == 1
    assert ("golden values", "backbone") in failed(findings)


def test_other_golden_values_pinned_anew_do_not_hold(card, verify):
    golden = json.loads((card / GOLDEN).read_text())
    golden["values"]["backbone"][2][3] += 0.01
    (card / GOLDEN).write_text(json.dumps(golden))
    repin(card, GOLDEN)
    code, findings, _ = verify(card, "--limit", 4)
    assert code == 1
    assert list(failed(findings)) == [("golden values", "backbone")]


@pytest.mark.parametrize(
    "change",
    [
        lambda g: g["values"].pop("backbone"),
        lambda g: g["values"]["backbone"][0].extend([0.0] * 100),
        lambda g: g.update(data="/etc/passwd"),
        lambda g: g.update(values=3),
        lambda g: g["values"].update(backbone=[[0.0]] * 5000),
    ],
)
def test_golden_values_that_are_none_are_said_to_be(card, change):
    golden = json.loads((card / GOLDEN).read_text())
    change(golden)
    (card / GOLDEN).write_text(json.dumps(golden))
    repin(card, GOLDEN)
    with pytest.raises(ReleaseError, match=GOLDEN):
        list(check_golden(open_release(card), Terms(torch.device("cpu"))))


def test_a_check_that_cannot_be_made_does_not_stop_the_others(card, verify):
    (card / GOLDEN).write_text("{}")
    repin(card, GOLDEN)
    code, findings, said = verify(card, "--limit", 4)
    assert code == 1
    assert findings["golden values", "all"]["verdict"] == "cannot be checked"
    assert findings[PGD]["verdict"] == "holds"
    assert "lacks data, values" in said


def test_a_graph_of_other_weights_is_not_torchs(card, verify, monkeypatch):
    from cfamc_zoo.export import parity

    monkeypatch.setattr(parity, "open_session", lambda release, feature: lambda x: x[:, 0, 0, :1])
    code, findings, _ = verify(card, "--limit", 4)
    assert code == 1
    assert {findings[s]["check"] for s in failed(findings)} == {"onnx"}


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


@pytest.fixture
def pinned(monkeypatch):
    """Makes the registry know "tiny" by the sha256 of its config."""

    def pinned(digest):
        known = registry.find_model(registry.default_model())
        spec = replace(known, name="tiny", repo="zoo/tiny", config_sha256=digest)
        monkeypatch.setattr(registry, "known_models", lambda: {"tiny": spec})

    return pinned


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


def test_an_older_release_says_that_it_stores_less(card, verify):
    """No verdicts, no golden values, no results: nothing of that is a fault."""
    release = open_release(card)
    files = {name: record for name, record in release.config.files.items() if name != GOLDEN}
    (card / GOLDEN).unlink()
    write_files(card, replace(release.config, files=files), {})
    change_rows(card, lambda row: replace(row, correct=""))
    assert '"correct"' not in (card / RESULTS).read_text()
    code, findings, _ = verify(card)
    assert code == 0
    assert findings["golden values", GOLDEN]["verdict"] == "not stored"
    assert findings[CLEAN]["measured"].endswith("% of 40")
    assert findings[CLEAN]["tolerance"] == "1 image, counted"
    code, findings, _ = verify(card, "--limit", 10)
    assert findings[CLEAN]["tolerance"] == "95% intervals"
    assert code == 0


def test_without_verdicts_a_count_that_is_far_off_lowers_the_claim(card, verify):
    change_rows(card, lambda row: replace(claim_more(row), correct=""))
    code, findings, _ = verify(card)
    assert (code, findings[PGD]["verdict"]) == (1, "lowered")


def test_a_release_without_results_claims_no_accuracy(tiny_release, verify):
    code, findings, _ = verify(tiny_release)
    assert code == 0
    assert findings[RESULTS]["verdict"] in ("holds", "not stored")


def test_a_limit_is_partial_and_says_so(measured, verify, capsys):
    code, findings, said = verify(measured, "--limit", 10)
    assert code == 0
    assert findings[PGD]["numbers"]["images"] == 10
    assert "partial: at most 10 images of each set were measured" in said


def fitted(row):
    """A row of a head that its command makes."""
    probe = "cfamc-zoo probe -m tiny --data cifar10-sample --limit 40 -o h.safetensors"
    attack = row.command.replace("--data", "--probe h.safetensors --data")
    return replace(row, protocol="another head", command=f"{probe} && {attack}", correct="")


def test_quick_leaves_heads_that_must_be_made_and_full_makes_them_once(
    card, verify, tmp_path, monkeypatch
):
    change_rows(card, fitted)
    code, findings, said = verify(card)
    assert code == 0
    assert {findings[s]["verdict"] for s in (CLEAN, PGD)} == {"left out"}
    assert "2 are left out (--full" in said

    state = tmp_path / "state"
    _, findings, _ = verify(card, "--full", "--state", state)
    assert {findings[s]["verdict"] for s in (CLEAN, PGD)} == {"holds"}
    assert findings[PGD]["numbers"]["images"] == IMAGES
    monkeypatch.setattr(measuring, "fit_release", None)
    monkeypatch.setattr(measuring, "go_through", None)
    assert verify(card, "--full", "--state", state)[1] == findings, "from what the state knows"
    # A state is of these weights and this head alone.
    monkeypatch.undo()
    change_tensors(card, PROBE, lambda t: {**t, "bias": t["bias"] + 1})
    repin(card, PROBE)
    monkeypatch.setattr(measuring, "go_through", lambda *_: pytest.fail("measured anew"))
    with pytest.raises(pytest.fail.Exception, match="measured anew"):
        verify(card, "--full", "--state", state)


def test_rows_of_data_that_is_not_here_cannot_be_checked(card, verify):
    change_rows(card, lambda row: replace(row, command=row.command.replace("sample", "sampel")))
    code, findings, said = verify(card, "--full")
    assert code == 1
    assert findings[PGD]["verdict"] == "cannot be checked"
    assert "cifar10-sampel" in said


def test_every_row_of_an_ensemble_is_measured(card):
    """They come from one run of it, on what each member left standing."""
    of = "cfamc-zoo attack -m tiny --data cifar10-sample --eps 1/255 --limit 4 --attack "
    assert read_command(f"{of} autoattack").attack.choice.attack().name == "AutoAttack"
    again, terms = read_command(f"{of} apgd-only"), Terms(torch.device("cpu"))
    found = measuring.measure_again(open_release(card), "", again, terms)
    assert [a.attack for a in found] == ["", "APGD-CE", "APGD-T", "APGD-CE + APGD-T"]
    assert {a.n for a in found} == {4}


def test_the_table_and_the_page_say_the_same(card, tmp_path, capsys):
    change_rows(card, claim_more)
    page = tmp_path / "page.html"
    assert run(["verify", str(card), "--report", str(page)]) == 1
    out, _ = capsys.readouterr()
    text = page.read_text()
    lines = [line.split("\t") for line in out.splitlines()]
    assert lines[2] == ["claim of", "claim", "measured", "tolerance", "verdict"]
    (robust,) = [line for line in lines if line[0] == PGD]
    assert robust[-1] == "lowered"
    for part in robust:
        assert part in text
    assert "Not every claim holds" in text and "the attack finds more than the card says" in text
    assert f"cfamc-zoo verify {card} --quick" in text
    assert run(["verify", str(card), "--report", str(page)]) == 2
    assert "already there" in capsys.readouterr().err


def test_a_state_that_is_no_folder_is_refused(measured, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    assert run(["verify", str(measured), "--state", str(file)]) == 2
    assert "is not a folder; give another --state" in capsys.readouterr().err


def test_a_row_of_verdicts_that_do_not_fit_is_no_row(measured):
    content = (measured / RESULTS).read_bytes()
    rows = json.loads(content)
    for wrong in ("1" * (IMAGES - 1), "2" * IMAGES):
        rows[0]["correct"] = wrong
        with pytest.raises(Exception, match="row key correct is"):
            parse_rows(json.dumps(rows).encode(), "it")
