import numpy as np
import pytest

from cfamc_zoo.training.recipe import recipe_from_json

TINY = {
    "name": "tiny",
    "title": "",
    "source": "",
    "epochs": 2,
    "batch_size": 8,
    "log_steps": 1,
    "checkpoint_steps": 2,
    "precision": "float32",
    "encoder": {"width": 2, "representation": 16, "projection": 8},
    "views": {"count": 3},
}


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def make_recipe():
    """A recipe that trains in a second, with keys of its own on top."""

    def make(**changes):
        return recipe_from_json(TINY | {"adversary": {"kind": "free", "replays": 2}} | changes)

    return make
