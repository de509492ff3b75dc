"""The state of a run as one safetensors file, replaced atomically."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from cfamc_zoo.atomic import atomic_file
from cfamc_zoo.errors import TrainingError, UsageError
from cfamc_zoo.training.distributed import rank
from cfamc_zoo.training.engine import Engine
from cfamc_zoo.training.recipe import Recipe, recipe_from_json
from cfamc_zoo.zoo.catalogue.resolve import CHECKPOINT

FILE = CHECKPOINT
# What optimizers keep of a parameter, as tensors of a checkpoint are called.
PREFIXES = {
    "momentum_buffer": "momentum",
    "exp_avg": "first_moment",
    "exp_avg_sq": "second_moment",
    "step": "updates",
}


@dataclass
class Progress:
    """What a run has reached: batches done and seconds spent, over all its parts."""

    step: int = 0
    seconds: float = 0.0
    origin: dict[str, Any] = field(default_factory=dict)  # the release it started from, if any
    teacher: dict[str, str] = field(default_factory=dict)  # the release it learns from, if any


def save_checkpoint(run: Path, engine: Engine, progress: Progress) -> None:
    """Writes everything that resuming needs; randomness is a function of seed and step.

    Raises:
        StorageError: it cannot be written; the last checkpoint is kept.
    """
    tensors = {f"encoder.{k}": v for k, v in engine.encoder.state_dict().items()}
    tensors["delta"] = engine.whole_delta()
    for name, parameter in _trained(engine):
        for key in engine.recipe.optimizer.state:
            tensors[f"{PREFIXES[key]}.{name}"] = engine.optimizer.state[parameter][key]
    if engine.averaged is not None:
        tensors |= {f"averaged.{k}": v for k, v in engine.averaged.state_dict().items()}
    metadata = {
        "recipe": json.dumps(engine.recipe.to_json()),
        "step": str(progress.step),
        "seconds": repr(progress.seconds),
        "origin": json.dumps(progress.origin),
        "teacher": json.dumps(progress.teacher),
    }
    if rank() > 0:
        return
    with atomic_file(run / FILE) as path:
        path.write_bytes(save({k: v.contiguous() for k, v in tensors.items()}, metadata))


def read_recipe(run: Path) -> Recipe:
    """The recipe that a run was started with.

    Raises:
        TrainingError: no checkpoint there, or not one of ours.
    """
    return recipe_from_json(json.loads(_metadata(run)["recipe"]))


def read_progress(run: Path) -> Progress:
    """How far a run has come.

    Raises:
        TrainingError: no checkpoint there, or not one of ours.
    """
    metadata = _metadata(run)
    origin = json.loads(metadata.get("origin", "{}"))
    teacher = json.loads(metadata.get("teacher", "{}"))
    return Progress(int(metadata["step"]), float(metadata["seconds"]), origin, teacher)


def load_checkpoint(run: Path, engine: Engine) -> Progress:
    """Puts weights, momentum and perturbation back into the engine.

    Raises:
        UsageError: the run learns from another teacher.
        TrainingError: no checkpoint there, or one of another recipe.
    """
    progress = read_progress(run)
    _check_teacher(run, progress.teacher, engine.record)
    try:
        tensors = load_file(run / FILE, device=str(engine.delta.device))
        engine.encoder.load_state_dict(_part(tensors, "encoder."))
        if engine.averaged is not None:
            engine.averaged.load_state_dict(_part(tensors, "averaged."))
        engine.set_whole_delta(tensors["delta"])
        for name, parameter in _trained(engine):
            for key in engine.recipe.optimizer.state:
                value = tensors[f"{PREFIXES[key]}.{name}"]
                if value.ndim:
                    # In the parameter's own memory format, or the fused step slows down.
                    value = torch.empty_like(parameter).copy_(value)
                engine.optimizer.state[parameter][key] = value
    except (SafetensorError, OSError, KeyError, RuntimeError) as error:
        raise TrainingError(
            f"checkpoint in {str(run)!r} does not fit its recipe: {error}; start a new run"
        ) from error
    return progress


def _check_teacher(run: Path, before: dict[str, str], now: dict[str, str]) -> None:
    then, here = before.get("sha256", ""), now.get("sha256", "")
    if then != here:
        raise UsageError(
            f"{str(run)!r} was started with the teacher {before.get('name')!r} of sha256 "
            f"{then[:12]}, not {here[:12]}; "
            "--set teacher=... to that one, or start a new run"
        )


def _trained(engine: Engine) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in engine.encoder.named_parameters() if p.requires_grad]


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _metadata(run: Path) -> dict[str, str]:
    try:
        with safe_open(run / FILE, "pt") as file:
            return dict(file.metadata())
    except (SafetensorError, OSError) as error:
        raise TrainingError(
            f"no readable checkpoint in {str(run)!r}: {error}; start the run without --resume"
        ) from error
