"""What an attack does not have is refused with what it has; what it has is said in full."""

import json
import subprocess
import sys
from itertools import pairwise

import pytest

from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.evaluation.attacks.choice import ATTACKS, FEATURE, Choice, named_once, read_settings
from cfamc_zoo.evaluation.attacks.ensemble import members_of

ENSEMBLES = ("autoattack", "apgd-only")


def built(choice):
    return choice.feature_attack() if choice.name == FEATURE else choice.attack()


@pytest.mark.parametrize("name", ATTACKS)
def test_every_name_is_an_attack_whose_settings_can_be_given_back(name):
    choice = Choice(name)
    attack, settings = built(choice), choice.settings()
    assert (settings == {}) == (name in ENSEMBLES)
    json.dumps(settings)
    words = choice.options()
    pairs = [w.split("=") for w in words if "=" in w]
    pairs += [
        (option[2:].replace("-", "_"), value)
        for option, value in pairwise(words)
        if option.startswith("--") and option != "--set"
    ]
    assert built(Choice(name, dict(pairs))) == attack


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("setting", ["steps", "step_size", "restarts", "loss", "start", "targets"])
def test_a_setting_is_the_attacks_own_or_refused_with_those_that_it_has(name, setting):
    value = {"step_size": "2/255", "loss": "margin", "start": "zero"}.get(setting, "3")
    choice = Choice(name, {setting: value})
    own = "queries" if (name, setting) == ("square", "steps") else setting
    has = Choice(name).settings().keys() - ATTACKS[name].fixed.keys()
    if own in has:
        expected = {"step_size": 2 / 255, "loss": "margin", "start": "zero"}.get(setting, 3)
        assert getattr(built(choice), own) == expected
        assert str(choice.settings()[own]) == value, "as it was given"
        return
    with pytest.raises(UsageError, match=f"is not for {name}, which takes") as raised:
        choice.settings()
    assert all(one in str(raised.value) for one in has)
    assert has or "no settings" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("pgd", {"steps": "many"}, "steps is 'many'; it must be a whole number"),
        ("pgd", {"steps": "2.5"}, "whole number"),
        ("pgd", {"restarts": "0"}, "at least 1"),
        ("square", {"queries": "0"}, "at least 1"),
        ("apgd", {"loss": "cw"}, "unknown loss 'cw'"),
        ("pgd", {"start": "one"}, "unknown start 'one'"),
        ("feature", {"distance": "l3"}, "unknown distance 'l3'"),
        ("pgd", {"step_size": "wide"}, "step size 'wide' is not a number"),
        ("feature", {"step_size": "2"}, "did you mean 2/255?"),
        ("pgd", {"step_size": "0"}, "must be over 0"),
        ("square", {"steps": "5", "queries": "6"}, "queries is given twice, 5 and 6"),
    ],
)
def test_an_impossible_value_is_refused(name, given, said):
    with pytest.raises(UsageError, match="; ") as raised:
        Choice(name, given).settings()
    assert said in str(raised.value)


def test_texts_are_pairs():
    assert read_settings(["steps=3", "step-size = 1/255"]) == [
        ("steps", "3"),
        ("step_size", "1/255"),
    ]
    for text in ("steps", "=3"):
        with pytest.raises(UsageError, match="is not key=value"):
            read_settings([text])
    with pytest.raises(UsageError, match="steps is given twice"):
        named_once([("steps", 3), ("steps", "4")])


def test_the_names_ask_for_no_torch_and_each_room_has_its_own_attacks():
    code = "import sys, cfamc_zoo.evaluation.attacks.choice; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(UnknownNameError, match="did you mean autoattack"):
        Choice("autoatack")
    with pytest.raises(UsageError, match="not on a classifier"):
        Choice(FEATURE).attack()
    with pytest.raises(UsageError, match="not on an encoder"):
        Choice("pgd").feature_attack()
    assert [len(members_of(Choice(name).attack())) for name in ENSEMBLES] == [4, 2]
