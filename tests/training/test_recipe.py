import dataclasses

import pytest

from cfamc_zoo.errors import UsageError
from cfamc_zoo.training.recipe import (
    FreeAdversary,
    list_recipes,
    load_recipe,
    recipe_from_json,
)


def test_the_papers_settings():
    recipe = load_recipe("cf-amc-ssl")
    assert recipe.adversary == FreeAdversary(eps="8/255", step=0.01, replays=3)
    assert (recipe.epochs, recipe.batch_size, recipe.views.count) == (10, 100, 16)
    assert recipe.views.scale == (0.08, 1.0)
    assert (recipe.objective.invariance, recipe.objective.coding_rate) == (200, 1)
    assert (recipe.encoder.representation, recipe.encoder.projection) == (4096, 1024)
    assert dataclasses.astuple(recipe.optimizer)[:4] == (0.3, 0.9, 1e-4, 0.005)


@pytest.mark.parametrize("name", list_recipes())
def test_recipes_survive_a_checkpoints_json(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe_from_json(recipe.to_json()) == recipe


def test_settings_take_dotted_keys_and_toml_values():
    recipe = load_recipe("cf-amc-ssl", ["views.count=4", "optimizer.lr=1", "data=cifar100"])
    assert (recipe.views.count, recipe.optimizer.lr, recipe.data) == (4, 1.0, "cifar100")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("epoch=1", "did you mean epochs"),
        ("views.cuont=1", "did you mean views.count"),
        ("adversary.kind=pdg", "did you mean pgd"),
        ("objective.temperature=1", "unknown recipe key"),
        ("epochs=0", "at least 1"),
        ("epochs=1.5", "must be a whole number"),
        ("epochs=true", "must be a whole number"),
        ("views.scale=[0.5]", "recipe key views.scale is [0.5]; it must be a list of 2 numbers"),
        ("views.scale=[0.5, 'x']", "recipe key views.scale[1] is 'x'; it must be a number"),
        ("optimizer.weight_decay=nan", "is nan; it must be a number"),
        ("objective=3", "must be a table with a kind"),
        ("title=true", "must be text"),
        ("views.scale=[0.9, 0.1]", "low <= high"),
        ("encoder.width=0", "width is 0"),
        ("adversary.eps=8", "did you mean 8/255?"),
        ("optimizer.schedule=linear", "cosine"),
        ("views=3", "must be a table"),
        ("epochs", "not key=value"),
        ("encoder.backbone=resnet19", "did you mean"),
    ],
)
def test_a_wrong_setting_says_what_is_allowed(setting, said):
    with pytest.raises(UsageError, match="^[^\n]+$") as error:
        load_recipe("cf-amc-ssl", [setting])
    assert said in str(error.value)


def test_unknown_recipe_offers_the_nearest():
    with pytest.raises(UsageError, match="did you mean cf-amc-ssl"):
        load_recipe("cf-amc-sl")
