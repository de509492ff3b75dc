"""Accuracies that a card claims and that are not so, one test for each way."""

import json
from dataclasses import replace

import pytest
import torch

from cfamc_zoo.verification import accuracies as measuring
from cfamc_zoo.verification.again import read_command
from cfamc_zoo.verification.finding import Terms
from cfamc_zoo.zoo.release.folder import PROBE, RESULTS, open_release
from cfamc_zoo.zoo.release.results import parse_rows

from .conftest import CLEAN, IMAGES, PGD, change_rows, change_tensors, claim_more, failed, repin


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


@pytest.mark.parametrize(
    "change",
    [
        lambda row: replace(row, command=row.command.replace("1/255", "0.001/255")),
        lambda row: replace(row, norm="l2"),
        lambda row: replace(row, seed=row.seed + 1),
        lambda row: replace(row, data="cifar10"),
    ],
)
def test_a_row_whose_command_measures_something_else_does_not_hold(card, verify, change):
    change_rows(card, lambda row: change(row) if row.attack else row)
    code, findings, said = verify(card, "--limit", 4)
    assert code == 1
    assert list(failed(findings).values()) == ["does not hold"]
    assert findings[CLEAN]["verdict"] == "holds"
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


def test_without_verdicts_a_count_that_is_far_off_lowers_the_claim(card, verify):
    change_rows(card, lambda row: replace(claim_more(row), correct=""))
    code, findings, _ = verify(card)
    assert (code, findings[PGD]["verdict"]) == (1, "lowered")


def test_a_part_of_the_images_lowers_a_claim_whose_interval_is_above_its_own(card, verify):
    change_rows(card, lambda row: replace(claim_more(row), correct=""))
    code, findings, _ = verify(card, "--limit", 10)
    assert (code, findings[PGD]["verdict"]) == (1, "lowered")
    assert findings[CLEAN]["verdict"] == "does not hold"
    assert findings[CLEAN]["tolerance"] == "95% intervals"


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


def test_a_row_of_verdicts_that_do_not_fit_is_no_row(measured):
    content = (measured / RESULTS).read_bytes()
    rows = json.loads(content)
    for wrong in ("1" * (IMAGES - 1), "2" * IMAGES):
        rows[0]["correct"] = wrong
        with pytest.raises(Exception, match="row key correct is"):
            parse_rows(json.dumps(rows).encode(), "it")
