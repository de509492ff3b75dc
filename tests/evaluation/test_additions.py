"""A norm is a class in the table of norms, an attack a file and a line of the table of attacks."""

import dataclasses
import json
import sys
import types

import pytest
import torch

import cfamc_zoo
from cfamc_zoo.cli.app import run
from cfamc_zoo.errors import UsageError
from cfamc_zoo.evaluation.arguments import whole
from cfamc_zoo.evaluation.attacks.choice import ATTACKS, Entry
from cfamc_zoo.evaluation.attacks.draws import in_ball
from cfamc_zoo.evaluation.attacks.ensemble import Ensemble, substitutions
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.attacks.square import Square
from cfamc_zoo.evaluation.attacks.survivors import Survivors
from cfamc_zoo.training.adversary import ascend
from cfamc_zoo.training.recipe import PgdAdversary
from cfamc_zoo.zoo.threat import L2, NORMS, Length
from tests.evaluation.attacks.models import Convolutional, own_labels, some_images


@dataclasses.dataclass(frozen=True)
class Euclid(L2):
    """L2 under another name: what comes out must be the same, since no code asks for the name."""

    norm = "euclid"
    meaning = "Euclid's"


@dataclasses.dataclass(frozen=True)
class Noise:
    """The best of some draws."""

    tries: int = 3
    scale: float = 1.0
    least: Length = 1 / 255

    def __post_init__(self):
        whole(self.tries, "tries", least=1)

    @property
    def name(self):
        return f"Noise-{self.tries}"

    def run(self, victim, batch, threat):
        survivors = Survivors(victim, batch)
        for _ in survivors.runs(self.tries):
            x = survivors.images
            noise = self.scale * in_ball(x, threat, survivors.keys)
            survivors.confirm_rest(x + threat.project(x, noise))
        return survivors.adversarial


@pytest.fixture
def euclid(monkeypatch):
    monkeypatch.setitem(NORMS, "euclid", Euclid)


@pytest.fixture
def noise(monkeypatch):
    name = "cfamc_zoo.evaluation.attacks.noise"
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules[name].Noise = Noise
    monkeypatch.setitem(ATTACKS, "noise", Entry("noise:Noise"))


def attacked(norm, attack, **settings):
    model, images = Convolutional(), some_images(12)
    labels = own_labels(model, images)
    return cfamc_zoo.attack(
        model, images, labels, attack=attack, norm=norm, eps="0.05,3.0", **settings
    )


@pytest.mark.parametrize(
    ("attack", "settings"),
    [
        ("pgd", {"steps": 3, "step_size": "2.0"}),
        ("apgd", {"steps": 6}),
        ("apgd-t", {"steps": 3}),
        ("fab", {"steps": 3}),
    ],
)
def test_an_added_norm_is_attacked_in(euclid, attack, settings):
    expected, found = (attacked(norm, attack, **settings) for norm in ("l2", "Euclid"))
    assert (found.adversarial == expected.adversarial).all()
    assert found.to_json()["norm"] == "euclid"
    assert [d.text for d in found.doubts] == [d.text for d in expected.doubts]


def test_an_added_norm_is_trained_in(euclid):
    crops, weight = some_images(4), torch.linspace(-1, 1, 192).view(3, 8, 8)
    a, b = (
        ascend(
            crops,
            PgdAdversary(eps="1/2", norm=norm).threat,
            step=0.1,
            steps=3,
            loss=lambda x: (x * weight).sin().sum(),
        )
        for norm in ("l2", "euclid")
    )
    assert torch.equal(a, b)
    assert L2(0.5).size(a).min() > 0.2 and L2(0.5).size(a).max() <= 0.5001


@pytest.mark.parametrize("attack", ["square", "autoattack", Square(), Ensemble("e", (Square(),))])
def test_what_is_not_made_for_an_added_norm_is_refused_before_any_work(euclid, attack):
    with pytest.raises(UsageError, match="Square is not made for euclid, only for linf, l2; run"):
        cfamc_zoo.attack(None, None, None, attack=attack, norm="euclid", eps="0.1")


def test_the_command_line_takes_an_added_norm(euclid, capsys, tmp_path):
    page = tmp_path / "page.html"
    options = ["--norm", "euclid", "--eps", "3.0", "--steps", "1", "--limit", "1", "--json"]
    assert run(["attack", *options, "--report", str(page)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["norm"] == "euclid" and answer["eps"] == ["3.0"]
    assert "--norm euclid --eps 3.0" in answer["command"]
    assert "Euclid&#39;s" in page.read_text("utf-8")
    assert run(["attack", "--norm", "euclid", "--attack", "square"]) == 2
    assert "Square is not made for euclid" in capsys.readouterr().err
    assert run(["attack", "--norm", "euclide"]) == 2
    assert "unknown norm 'euclide'; did you mean euclid?" in capsys.readouterr().err


def test_an_added_attack_is_run_with_its_settings(noise, capsys):
    options = ["--set", "tries=2", "--set", "scale=2.5", "--set", "least=3/255"]
    assert run(["attack", "--attack", "noise", "--limit", "1", *options, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["settings"] == [repr(Noise(2, 2.5, 3 / 255))]
    assert "--attack noise --set tries=2 --set scale=2.5 --set least=3/255" in answer["command"]
    assert answer["results"][1]["attack"] == "Noise-2"
    found = attacked("l2", "noise", tries=1, scale=3)
    assert found.terms.attack == Noise(1, 3.0)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("steps=3", "steps is not for noise, which takes tries, scale, least"),
        ("tries=0", "tries is 0; it must be at least 1"),
        ("tries=few", "tries is 'few'; it must be a whole number"),
        ("scale=big", "scale is 'big'; it must be a number, like 0.5"),
        ("scale=nan", "scale is 'nan'; it must be a finite number"),
        ("least=3", "least '3' is over 1"),
        ("least=0", "least is '0'; it must be over 0"),
    ],
)
def test_settings_that_an_added_attack_cannot_take(noise, capsys, setting, said):
    assert run(["attack", "--attack", "noise", "--set", setting]) == 2
    assert said in capsys.readouterr().err


def test_an_attack_says_what_it_replaces():
    class Careful(Noise):
        def substitutions(self, classes):
            return [f"{classes} classes are few"] if classes < 4 else []

    both = Ensemble("both", (Pgd(), Careful(5)))
    assert substitutions(both, 3) == ["Noise-5: 3 classes are few"]
    assert substitutions(both, 4) == []
