"""Ideas tried at equal time, and the page of what came of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cfamc_zoo.training.recipe import load_recipe
from tests.scripts import script

ROOT = Path(__file__).parent.parent.parent
TINY = (
    *("encoder.width=4", "encoder.representation=16", "encoder.projection=8"),
    *("batch_size=4", "views.count=2"),
)


@pytest.fixture(scope="module")
def research():
    return script(ROOT / "tools/research.py")


@pytest.fixture(scope="module")
def page():
    return script(ROOT / "docs/research_page.py")


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)


def test_every_idea_is_of_recipes_that_there_are_and_spends_all_of_its_time(research):
    for name, idea in research.IDEAS.items():
        assert sum(stage.share for stage in idea.stages) == pytest.approx(1), name
        for stage in idea.stages:
            load_recipe(stage.recipe, stage.settings)


def test_views_that_share_a_perturbation_move_as_their_sum_says(research):
    gradient = torch.tensor([3.0, -1.0, -1.0, 2.0]).view(4, 1, 1, 1)  # two views of two images
    shared = research.Shared(0.1, views=2).steepest(gradient)
    assert shared.flatten().tolist() == [1, 1, 1, 1]
    assert research.Linf(0.1).steepest(gradient).flatten().tolist() == [1, -1, -1, 1]


def test_a_batch_costs_what_it_takes_beside_one_of_the_first_idea(research, images, monkeypatch):
    monkeypatch.setattr(research, "Engine", lambda recipe, *rest: recipe)
    monkeypatch.setattr(research, "seconds", lambda recipe, number: number + recipe.replays)
    one = load_recipe("cf-amc-ssl-thin", [*TINY, "adversary.replays=1"])
    middle = research.TRIED // 2
    assert research.price(one, images, None, "") == (middle + 1) / (middle + 3)


def test_a_stage_goes_on_from_the_one_before_and_is_trained_once(
    research, images, tmp_path, monkeypatch
):
    first = research.Stage("cf-amc-ssl-thin", TINY, share=0.5)
    second = research.Stage("cf-amc-ssl-thin", (*TINY, "optimizer.lr=1e-9"), share=0.5)
    monkeypatch.setattr(research, "price", lambda *a: 1.0)
    alone = research.Trial(research.Idea("", "", (first,)), 0, 4, tmp_path)
    both = research.Trial(research.Idea("", "", (first, second)), 0, 4, tmp_path)
    start, told = alone.train(images)
    assert [what["batches"] for what in told] == [2]
    monkeypatch.setattr(research, "price", lambda *a: pytest.fail("planned already"))
    again, _ = alone.train(images)
    monkeypatch.setattr(research, "price", lambda *a: 1.0)
    after, told = both.train(images)
    assert [what["batches"] for what in told] == [2, 2]
    for a, b, c in zip(*(e.parameters() for e in (start, again, after)), strict=True):
        assert torch.equal(a, b)
        assert torch.allclose(a, c, atol=1e-4), "at that rate it stays where it starts"


def test_a_cosine_ends_with_its_time_over_as_many_epochs_as_it_takes(
    research, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(research, "price", lambda *a: 1.0)
    stage = research.Stage("cf-amc-ssl-thin", (*TINY, "optimizer.schedule=cosine"))
    trial = research.Trial(research.Idea("", "", (stage,)), 0, 24, tmp_path)
    _, (told,) = trial.train(images)
    assert told["batches"] == 24, "of 40 images: three epochs of 8"
    (log,) = tmp_path.glob("*/metrics.jsonl")
    last = json.loads(log.read_text().splitlines()[-1])
    assert last["epoch"] == 3
    assert last["learning_rate"] < 0.001


def trial(idea, at_4, at_8, seed=0, feature="representation"):
    percent = {"clean": (50.0, 5000), "4/255": (at_4, 1000), "8/255": (at_8, 1000)}
    return {
        "idea": idea,
        "text": idea.upper(),
        "expected": "more",
        "seed": seed,
        "time": 150,
        "stages": [{"batches": 1000}],
        "feature": feature,
        "percent": {k: {"value": v, "n": n} for k, (v, n) in percent.items()},
        "command": f"again {idea} {seed}",
    }


@pytest.mark.parametrize(
    ("at_4", "at_8", "said"),
    [
        (36.0, 21.0, "better"),
        (24.0, 9.0, "worse"),
        (36.0, 15.5, "better at 4/255"),
        (31.0, 9.0, "worse at 8/255"),
        (31.0, 16.0, "a tie"),
        (36.0, 9.0, "better at 4/255, worse at 8/255"),
    ],
)
def test_better_is_more_than_chance(at_4, at_8, said, page, tmp_path):
    found = [
        trial("views-8", 29.0, 14.0),
        trial("views-8", 31.0, 16.0, seed=1),
        trial("other", at_4, at_8),
        trial("other", at_4, at_8, seed=1),
        trial("once", 24.0, 9.0),
        trial("taught", 1.0, 1.0, feature="backbone"),
    ]
    for one in found:
        (tmp_path / f"{one['idea']}-{one['seed']}.json").write_text(json.dumps(one))
    text = page.research(tmp_path)
    assert "| VIEWS-8 | more | 1,000 | 50.0 50.0 | 29.0 31.0 | 14.0 16.0 | - |" in text
    assert f"| 50.0 50.0 | {at_4:.1f} {at_4:.1f} | {at_8:.1f} {at_8:.1f} | {said} |" in text
    assert "| ONCE | more | 1,000 | 50.0 | 24.0 | 9.0 | worse (one seed) |" in text
    assert "again views-8 1" in text
    assert "TAUGHT" not in text, "nothing to compare it with"
