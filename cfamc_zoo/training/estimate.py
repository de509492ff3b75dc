"""How long a run would take, and how much memory: from its first batches, tried and thrown away."""

from __future__ import annotations

import importlib
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch

from cfamc_zoo.training.engine import Engine
from cfamc_zoo.training.faults import training_faults
from cfamc_zoo.training.recipe import Recipe
from cfamc_zoo.training.teacher import teacher_for

TRIED_SECONDS = 10.0  # at least one batch, and then as many as begin within these


@dataclass(frozen=True)
class Estimate:
    """What a run would need on this machine, other work going on as it did."""

    batches: int
    seconds_a_batch: float
    crops_per_second: float
    memory: int | None  # bytes at most, the data included; None where the system does not say

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        return self.batches * self.seconds_a_batch


def estimate(recipe: Recipe, images: np.ndarray, device: torch.device) -> Estimate:
    """Trains some batches that are kept nowhere, and measures them.

    Args:
        images: (N, S, S, 3) uint8.

    Raises:
        UsageError, TrainingError: as `loop.train`.
    """
    with training_faults(), torch.backends.cudnn.flags(enabled=True, benchmark=True):
        engine = Engine(recipe, images, device, teacher=teacher_for(recipe))
        engine.step(0)  # allocates, and compiles where a GPU does
        engine.loss.item()  # waits for the device
        begun, done = time.monotonic(), 0
        while done == 0 or time.monotonic() - begun < TRIED_SECONDS:
            done += 1
            engine.step(done)
            engine.loss.item()
        pace = (time.monotonic() - begun) / done
    crops = recipe.views.count * recipe.batch_size * recipe.replays
    batches = min(engine.steps, recipe.max_steps or engine.steps)
    return Estimate(batches, pace, crops / pace, _most_memory(device))


def _most_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        resource = importlib.import_module("resource")
    except ImportError:  # Windows
        return None
    kilobytes_or_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(kilobytes_or_bytes * (1 if sys.platform == "darwin" else 1024))
