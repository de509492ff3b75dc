"""Two processes with gloo do what one process with the whole batch does."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from cfamc_zoo.training.loop import train
from cfamc_zoo.training.teacher import teacher_for
from cfamc_zoo.zoo.network.encoder import Encoder, build_projector
from cfamc_zoo.zoo.network.families.resnet import ResNetArchitecture
from cfamc_zoo.zoo.release.loading import save_release
from tests.conftest import make_config

# All runs after each other: most of the time goes into starting the processes.
SCRIPT = """
import json, pathlib, sys
import numpy, torch
from cfamc_zoo.training import distributed
from cfamc_zoo.training.loop import train
from cfamc_zoo.training.recipe import recipe_from_json
from cfamc_zoo.training.teacher import teacher_for

root = pathlib.Path(sys.argv[1])
torch.set_num_threads(1)
recipes = json.loads((root / "recipes.json").read_text())
with distributed.join(torch.device("cpu")) as device:
    for run, values in recipes.items():
        (root / run).mkdir(exist_ok=True)
        recipe = recipe_from_json(values)
        train(recipe, numpy.load(root / "images.npy"), root / run, device=device,
              report=lambda _: None, teacher=teacher_for(recipe))
"""

STEADY = {
    "optimizer": {"lr": 3e-4},
    "batch_size": 20,
    "encoder": {"width": 8, "representation": 64, "projection": 32},
}
FREE, PGD = {"kind": "free", "replays": 2}, {"kind": "pgd", "steps": 2}
SIMCLR = {"objective": {"kind": "nt-xent"}, "views": {"count": 2}}
# Two batches at a small rate: the first shows the loss over the whole batch, the second the
# step that its gradient made. Later ones amplify rounding, as training does.
CURVES = {
    "emp": {"adversary": {"kind": "none"}, "max_steps": 2},
    "simclr": {"adversary": {"kind": "none"}, **SIMCLR, "max_steps": 2},
    "emp-free": {"adversary": FREE, "max_steps": 2},
    "emp-pgd": {"adversary": PGD, "max_steps": 2},
    "profeat": {
        "objective": {"kind": "profeat"},
        "views": {"count": 2, "padding": 2, "autoaugmented": 1},
        "adversary": PGD | {"start": "random", "batchnorm": "evaluation"},
        "student": "from-scratch",
        "max_steps": 2,
    },
}
RESUMED = "resumed"


def alone(recipe, images, folder, steps=1000):
    """A run, or its first steps, in this process."""
    folder.mkdir()
    seen = iter(range(1, 1000))
    train(
        recipe,
        images,
        folder,
        device=torch.device("cpu"),
        report=lambda _: None,
        teacher=teacher_for(recipe),
        stop=lambda: next(seen) >= steps,
    )
    return metrics(folder)


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="session")
def teacher(tmp_path_factory):
    """The same one in every process."""
    torch.manual_seed(0)
    architecture = ResNetArchitecture(**STEADY["encoder"])
    encoder = Encoder(architecture, projector=build_projector(architecture))
    folder = tmp_path_factory.mktemp("teacher") / "teacher"
    save_release(folder, encoder, make_config(encoder))
    return str(folder)


@pytest.fixture(scope="session")
def recipes(make_recipe, teacher):
    changes = CURVES | {RESUMED: {}}
    changes["profeat"] = CURVES["profeat"] | {"teacher": teacher}
    return {name: make_recipe(**STEADY, **changed) for name, changed in changes.items()}


@pytest.fixture
def by_two(made_once, recipes, images):
    """The folder of all runs by two processes; one went on from another's first two batches."""

    def make(root):
        (root / "script.py").write_text(SCRIPT)
        written = {name: recipe.to_json() for name, recipe in recipes.items()}
        (root / "recipes.json").write_text(json.dumps(written))
        np.save(root / "images.npy", images)
        alone(recipes[RESUMED], images, root / RESUMED, steps=2)
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        arguments = ["--nproc-per-node=2", str(root / "script.py"), str(root)]
        done = subprocess.run([*start, *arguments], capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-3000:]

    return made_once("two-processes", make)


@pytest.mark.parametrize(
    ("name", "tolerance"),
    # The attack takes signs of gradients, and near zero a sum in another order flips some.
    [("emp", 2e-4), ("simclr", 2e-3), ("emp-free", 1e-2), ("emp-pgd", 3e-2), ("profeat", 3e-2)],
)
def test_two_processes_have_the_loss_curve_of_one(
    by_two, tmp_path, images, recipes, name, tolerance
):
    one, two = alone(recipes[name], images, tmp_path / "one"), metrics(by_two / name)
    assert [x["step"] for x in two] == list(range(1, 3)), "one process writes, the other does not"
    losses = [[x["loss"] for x in curve] for curve in (two, one)]
    np.testing.assert_allclose(*losses, rtol=tolerance)


def test_a_run_of_one_process_is_resumed_by_two(by_two, tmp_path, images, recipes):
    whole, resumed = alone(recipes[RESUMED], images, tmp_path / "whole"), metrics(by_two / RESUMED)
    assert [x["step"] for x in resumed] == list(range(1, 5))
    np.testing.assert_allclose([x["loss"] for x in resumed], [x["loss"] for x in whole], rtol=1e-2)
