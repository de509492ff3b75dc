"""Two processes with gloo do what one process with the whole batch does."""

import json
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import json, pathlib, sys
import numpy, torch
from cfamc_zoo.training import distributed
from cfamc_zoo.training.loop import train
from cfamc_zoo.training.recipe import recipe_from_json

root, run, steps = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
torch.set_num_threads(1)
recipe = recipe_from_json(json.loads((root / "recipe.json").read_text()))
(root / run).mkdir(exist_ok=True)
seen = iter(range(1, 1000))
with distributed.join(torch.device("cpu")) as device:
    train(recipe, numpy.load(root / "images.npy"), root / run, device=device,
          report=lambda _: None, stop=lambda: next(seen) >= steps)
"""


def run(root, name, processes, steps=1000):
    (root / "script.py").write_text(SCRIPT)
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    arguments = [str(root / "script.py"), str(root), name, str(steps)]
    done = subprocess.run([*start, *arguments], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = (root / name / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


FREE, PGD = {"kind": "free", "replays": 2}, {"kind": "pgd", "steps": 2}
SIMCLR = {"objective": {"kind": "nt-xent"}, "views": {"count": 2}}


STEADY = {
    "optimizer": {"lr": 3e-4},
    "batch_size": 20,
    "encoder": {"width": 8, "representation": 64, "projection": 32},
}


@pytest.mark.parametrize(
    ("changes", "tolerance"),
    [
        ({"adversary": {"kind": "none"}}, 2e-4),
        ({"adversary": {"kind": "none"}, **SIMCLR}, 2e-3),
        # The attack takes signs of gradients, and near zero a sum in another order flips some.
        ({"adversary": FREE}, 1e-2),
        ({"adversary": PGD}, 3e-2),
    ],
    ids=["emp", "simclr", "emp-free", "emp-pgd"],
)
def test_two_processes_have_the_loss_curve_of_one(
    tmp_path, images, make_recipe, changes, tolerance
):
    # Two batches at a small rate: the first shows the loss over the whole batch, the second the
    # step that its gradient made. Later ones amplify rounding, as training does.
    recipe = make_recipe(**STEADY, **changes, max_steps=2)
    (tmp_path / "recipe.json").write_text(json.dumps(recipe.to_json()))
    np.save(tmp_path / "images.npy", images)
    one, two = run(tmp_path, "one", 1), run(tmp_path, "two", 2)
    assert [x["step"] for x in two] == list(range(1, 3)), "one process writes, the other does not"
    losses = [[x["loss"] for x in curve] for curve in (two, one)]
    np.testing.assert_allclose(*losses, rtol=tolerance)


def test_a_run_of_one_process_is_resumed_by_two(tmp_path, images, make_recipe):
    (tmp_path / "recipe.json").write_text(json.dumps(make_recipe(**STEADY).to_json()))
    np.save(tmp_path / "images.npy", images)
    whole = run(tmp_path, "whole", 1)
    run(tmp_path, "part", 1, steps=2)
    resumed = run(tmp_path, "part", 2)
    assert [x["step"] for x in resumed] == list(range(1, 5))
    np.testing.assert_allclose([x["loss"] for x in resumed], [x["loss"] for x in whole], rtol=1e-2)
