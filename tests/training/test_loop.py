"""Whole runs at a tiny scale: resumed ones are the unbroken one, bad ones keep what was good."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from cfamc_zoo.errors import StorageError, TrainingError, UsageError
from cfamc_zoo.training import averaging, checkpoint
from cfamc_zoo.training.engine import Engine, learning_rate
from cfamc_zoo.training.loop import METRICS, train
from cfamc_zoo.training.recipe import list_recipes, load_recipe
from tests.sweep import sweep

CPU = torch.device("cpu")


def run(recipe, images, folder, **options):
    folder.mkdir(exist_ok=True)
    return train(recipe, images, folder, device=CPU, report=lambda _: None, **options)


def metrics(folder):
    lines = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    return [(x["step"], x["loss"], x["parts"], x["learning_rate"]) for x in lines]


def weights(result):
    return result.encoder.state_dict()


def assert_equal(a, b):
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert a.keys() == b.keys()


ADVERSARIES = [{"kind": "none"}, {"kind": "free", "replays": 2}, {"kind": "pgd", "steps": 2}]


@pytest.mark.parametrize(
    ("objective", "adversary"),
    [
        *(("emp", adversary) for adversary in ADVERSARIES),
        ("nt-xent", ADVERSARIES[1]),
        *(sweep("nt-xent", ADVERSARIES[i]) for i in (0, 2)),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else value,
)
def test_a_stopped_and_resumed_run_is_the_unbroken_run(
    make_recipe, images, tmp_path, adversary, objective
):
    views = {"count": 2 if objective == "nt-xent" else 3}
    recipe = make_recipe(adversary=adversary, objective={"kind": objective}, views=views)
    whole = run(recipe, images, tmp_path / "whole")
    assert whole.finished and whole.step == 10

    stops = iter([False, False, True])
    part = run(recipe, images, tmp_path / "part", stop=lambda: next(stops))
    assert not part.finished and part.step == 3
    resumed = run(recipe, images, tmp_path / "part")
    assert_equal(weights(whole), weights(resumed))
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "part")


def test_a_killed_run_goes_on_as_if_nothing_had_happened(make_recipe, images, tmp_path):
    recipe = make_recipe(checkpoint_steps=3)
    (tmp_path / "recipe.json").write_text(json.dumps(recipe.to_json()))
    np.save(tmp_path / "images.npy", images)
    killed = tmp_path / "killed"
    killed.mkdir()
    script = (
        "import json, numpy, os, torch, pathlib, signal, sys\n"
        "from cfamc_zoo.training.loop import train\n"
        "from cfamc_zoo.training.recipe import recipe_from_json\n"
        "root = pathlib.Path(sys.argv[1])\n"
        "torch.set_num_threads(int(sys.argv[2]))\n"
        "recipe = recipe_from_json(json.loads((root / 'recipe.json').read_text()))\n"
        "def report(news):\n"
        "    if news.step == 8:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "train(recipe, numpy.load(root / 'images.npy'), root / 'killed',\n"
        "      device=torch.device('cpu'), report=report)\n"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path), str(torch.get_num_threads())]
    assert subprocess.run(arguments).returncode == -signal.SIGKILL
    reached = len((killed / METRICS).read_text().splitlines())
    progress = checkpoint.load_checkpoint(killed, Engine(recipe, images, CPU))
    assert progress.step == 6 < reached, "what came after the checkpoint is done again"
    resumed, whole = run(recipe, images, killed), run(recipe, images, tmp_path / "whole")
    assert_equal(weights(whole), weights(resumed))
    assert metrics(killed) == metrics(tmp_path / "whole")


def test_training_lowers_the_loss(make_recipe, images, tmp_path):
    run(make_recipe(epochs=12, adversary={"kind": "none"}), images, tmp_path / "run")
    losses = [loss for _, loss, _, _ in metrics(tmp_path / "run")]
    assert np.mean(losses[-10:]) < np.mean(losses[:5]) - 1


def test_a_slow_run_is_not_silent_for_long(make_recipe, images, tmp_path, monkeypatch):
    recipe = make_recipe(log_steps=1000)
    result = run(recipe, images, tmp_path / "quick")
    assert [step for step, *_ in metrics(tmp_path / "quick")] == [result.step]
    monkeypatch.setattr("cfamc_zoo.training.loop.LONGEST_SILENCE", 0.0)
    run(recipe, images, tmp_path / "slow")
    assert [step for step, *_ in metrics(tmp_path / "slow")] == [*range(1, result.step + 1)]


def test_free_training_perturbs_within_epsilon_and_keeps_delta(make_recipe, images):
    engine = Engine(make_recipe(), images, CPU)
    engine.step(0)
    first = engine.delta.clone()
    for number in range(1, 4):
        engine.step(number)
        assert 0 < engine.delta.abs().max() <= 8 / 255 + 1e-6
    # Each batch starts from it: its own two passes of 0.01 come to 0.02 at most.
    assert engine.delta.abs().max() > 0.02 + 1e-6
    assert (first != 0).float().mean() > 0.5


def test_a_loss_that_is_not_finite_keeps_the_good_checkpoint(
    make_recipe, images, tmp_path, monkeypatch
):
    recipe, step = make_recipe(checkpoint_steps=2), Engine.step

    def poisoned(engine, number):
        step(engine, number)
        if number == 4:
            engine.loss = torch.tensor(float("nan"))

    monkeypatch.setattr(Engine, "step", poisoned)
    with pytest.raises(TrainingError, match="loss is nan at step 5"):
        run(recipe, images, tmp_path / "run")
    good = checkpoint.load_checkpoint(tmp_path / "run", Engine(recipe, images, CPU))
    assert good.step == 4


def test_a_full_disk_keeps_the_last_checkpoint(make_recipe, images, tmp_path, monkeypatch):
    recipe = make_recipe(checkpoint_steps=2)
    stops = iter([False, True])
    run(recipe, images, tmp_path / "run", stop=lambda: next(stops))
    before = (tmp_path / "run" / checkpoint.FILE).read_bytes()

    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        run(recipe, images, tmp_path / "run")
    assert (tmp_path / "run" / checkpoint.FILE).read_bytes() == before
    assert {f.name for f in (tmp_path / "run").iterdir()} == {checkpoint.FILE, METRICS}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "views.count"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "batch_size"),
        (RuntimeError("CUDA error: unspecified launch failure"), "--resume"),
    ],
)
def test_what_the_machine_does_to_a_run_is_said_with_a_remedy(
    make_recipe, images, tmp_path, monkeypatch, fault, said
):
    def broken(*_):
        raise fault

    monkeypatch.setattr(Engine, "step", broken)
    with pytest.raises(TrainingError, match=said):
        run(make_recipe(), images, tmp_path / "run")


def test_checkpoints_come_by_minutes_where_batches_are_slow(
    make_recipe, images, tmp_path, monkeypatch
):
    step = Engine.step

    def failing(engine, number):
        if number == 3:
            raise RuntimeError("CUDA error: unspecified launch failure")
        step(engine, number)

    monkeypatch.setattr(Engine, "step", failing)
    for minutes, reached in ((1e-9, 3), (1e9, None)):
        recipe = make_recipe(checkpoint_steps=1000, checkpoint_minutes=minutes)
        folder = tmp_path / str(minutes)
        with pytest.raises(TrainingError):
            run(recipe, images, folder)
        if reached is None:
            assert not (folder / checkpoint.FILE).exists()
        else:
            assert checkpoint.read_progress(folder).step == reached


def test_a_cut_off_checkpoint_is_refused(make_recipe, images, tmp_path):
    stops = iter([True])
    run(make_recipe(), images, tmp_path / "run", stop=lambda: next(stops))
    path = tmp_path / "run" / checkpoint.FILE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TrainingError, match="start"):
        run(make_recipe(), images, tmp_path / "run")


def test_fewer_images_than_a_batch_is_a_usage_error(make_recipe, images, tmp_path):
    with pytest.raises(UsageError, match="3 images are fewer than one batch of 8"):
        run(make_recipe(), images[:3], tmp_path / "run")


def rates(schedule, updates, epochs=1, epoch_steps=100):
    settings = ["optimizer.lr=1.0", f"optimizer.schedule={schedule}", f"epochs={epochs}"]
    recipe = load_recipe("cf-amc-ssl", settings)  # 3 replays
    return [learning_rate(recipe, update, epoch_steps) for update in range(updates)]


def test_one_cosine_and_the_published_one_that_restarts():
    once = rates("cosine", 600, epochs=2)
    assert once == sorted(once, reverse=True) and once[0] == 1 and once[-1] < 1e-3
    published = rates("cosine-per-batch", 301)
    assert published[100] == pytest.approx(0) and published[200] == pytest.approx(1)
    assert published[300] == pytest.approx(0)


def test_an_epoch_with_a_cosine_of_its_own_is_the_same_in_a_longer_run():
    assert rates("cosine-per-epoch", 600, epochs=2) == 2 * rates("cosine", 300)


SMALL = [
    "encoder.width=2",
    "encoder.representation=16",
    "encoder.projection=8",
    "batch_size=8",
    "max_steps=2",
    "size=32",
]


UNTAUGHT = [name for name in list_recipes() if not load_recipe(name).objective.taught]


@pytest.mark.parametrize("name", UNTAUGHT)
def test_every_recipe_trains(name, images, tmp_path, monkeypatch):
    monkeypatch.setattr(averaging, "STATISTICS_CROPS", 64)
    result = run(load_recipe(name, SMALL), images, tmp_path / "run")
    assert result.finished and result.step == 2
    assert all(v.isfinite().all() for v in weights(result).values())
