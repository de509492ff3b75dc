"""What is kept of a measurement that was stopped, and how it goes on."""

import json

import numpy as np
import pytest
import torch

from cfamc_zoo.errors import DataError, ModelError, UsageError
from cfamc_zoo.evaluation.attacks.apgd import Apgd, ApgdTargeted
from cfamc_zoo.evaluation.attacks.ensemble import Ensemble
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.doubts import doubts_of_model
from cfamc_zoo.evaluation.examples import Examples
from cfamc_zoo.evaluation.ledger import Ledger, StateFile
from cfamc_zoo.evaluation.robustness import accuracies, evaluate
from cfamc_zoo.evaluation.run import Run
from cfamc_zoo.evaluation.victim.batching import in_batches
from cfamc_zoo.zoo.threat import Linf
from tests.evaluation.attacks.models import Convolutional, own_labels, some_images

ATTACK = Ensemble("both", (Pgd(steps=3), Apgd("ce", steps=5)))
THREATS = [Linf.of("0.003"), Linf.of("0.006")]


class Failing(Convolutional):
    """Raises `error` at the call of that number."""

    def __init__(self, call, error):
        super().__init__()
        self.calls, self.call, self.error = 0, call, error

    def forward(self, x):
        self.calls += 1
        if self.calls == self.call:
            raise self.error
        return super().forward(x)

    def __deepcopy__(self, memo):
        raise TypeError("counted, so not to be copied")


def measure(model, ledger, images):
    data = Examples(images, own_labels(Convolutional(), images), 5)
    return evaluate(model, data, ATTACK, THREATS, Run(batch_size=8, ledger=ledger))


@pytest.mark.parametrize("call", [3, 9, 30, 50])
def test_a_stopped_run_goes_on_to_the_very_same_end(tmp_path, call):
    images = some_images(24)

    def opened(name):
        return StateFile(
            tmp_path / name, key={"seed": 0}, images=images.numpy(), radii=len(THREATS)
        )

    whole = opened("whole")
    expected = measure(Failing(-1, None), whole, images)
    with pytest.raises(KeyboardInterrupt):
        measure(Failing(call, KeyboardInterrupt()), opened("parts"), images)
    resumed = opened("parts")
    found = measure(Failing(-1, None), resumed, images)
    assert [r.correct for r in found] == [r.correct for r in expected]
    assert [r.tried for r in found] == [r.tried for r in expected]
    assert np.array_equal(resumed.adversarial, whole.adversarial)
    model = Failing(-1, None)
    measure(model, opened("parts"), images)
    assert model.calls <= 2, "nothing is measured again"


def test_a_model_that_fails_on_one_batch_leaves_what_was_measured():
    images, ledger = some_images(24), Ledger(24)
    with pytest.raises(ModelError, match="the model failed on images of shape") as raised:
        measure(Failing(12, ValueError("broken")), ledger, images)
    assert "\n" not in str(raised.value)
    rows = accuracies(ledger, ATTACK, THREATS)
    assert rows[0].n == 24
    assert [r.attack for r in rows] == ["", "PGD-3"]
    assert 0 < rows[1].n < 24


def test_nan_on_one_batch_is_one_line():
    class Sometimes(Failing):
        def forward(self, x):
            logits = super().forward(x)
            return logits * torch.nan if self.calls == 15 else logits

    ledger = Ledger(24)
    with pytest.raises(ModelError, match="not finite"):
        measure(Sometimes(-1, None), ledger, some_images(24))
    rows = accuracies(ledger, ATTACK, THREATS)
    assert rows[0].n == 24 and 0 < rows[1].n < 24, "what came before is kept"


class Small(Convolutional):
    """A device that holds three images."""

    def forward(self, x):
        if len(x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


def test_when_memory_runs_out_batches_are_halved_and_it_is_said():
    said, sizes, rooms = [], [], []

    def work(part, room):
        sizes.append(len(part))
        rooms.append(room)
        Small()(torch.zeros(len(part), 3, 8, 8))

    in_batches(torch.arange(24), 16, work, said.append)
    assert [s for s in sizes if s <= 3] == [2] * 12
    assert rooms == [16, 8, 4, *[2] * 12]
    assert said[0] == "out of memory with 16 images at a time; going on with 8"


@pytest.mark.parametrize("attack", [Pgd(steps=2), ApgdTargeted(steps=2)], ids=lambda a: a.name)
def test_a_measurement_goes_on_with_smaller_batches_to_the_same_verdicts(attack):
    images, said = some_images(24), []
    data = Examples(images, own_labels(Convolutional(), images), 5)
    plain, halved = (
        evaluate(model, data, attack, THREATS[:1], Run(batch_size=size, say=said.append))
        for model, size in ((Convolutional(), 2), (Small(), 24))
    )
    assert "going on with" in said[0]
    assert halved[1].n == 24
    assert sum(a != b for a, b in zip(plain[1].correct, halved[1].correct, strict=True)) <= 1
    assert doubts_of_model(Small(), data, THREATS[0]) == []


def test_one_image_too_large_is_an_error():
    def work(part, room):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 TB")

    with pytest.raises(ModelError, match="out of memory with a single image"):
        in_batches(torch.arange(4), 4, work, lambda text: None)


def test_the_state_of_another_run_is_refused(tmp_path):
    images, path = some_images(4).numpy(), tmp_path / "state"
    StateFile(path, key={"seed": 0}, images=images, radii=1).flush()
    with pytest.raises(UsageError, match="its seed is 0, not 1"):
        StateFile(path, key={"seed": 1}, images=images, radii=1)
    path.write_text("{")
    with pytest.raises(DataError, match="is not the state of an attack"):
        StateFile(path, key={"seed": 0}, images=images, radii=1)
    path.write_text(json.dumps({"key": {"seed": 0}, "stages": []}))
    (tmp_path / "state.images.npy").unlink()
    with pytest.raises(DataError, match="delete"):
        StateFile(path, key={"seed": 0}, images=images, radii=1)
