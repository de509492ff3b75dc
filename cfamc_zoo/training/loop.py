"""A run from its start or its checkpoint to its end: batches, progress, checkpoints.

Under torchrun every process runs this; the first one writes.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

from cfamc_zoo.atomic import storage_errors
from cfamc_zoo.errors import TrainingError
from cfamc_zoo.training.averaging import released_encoder
from cfamc_zoo.training.checkpoint import FILE, Progress, load_checkpoint, save_checkpoint
from cfamc_zoo.training.distributed import any_rank, rank
from cfamc_zoo.training.engine import Engine
from cfamc_zoo.training.faults import training_faults
from cfamc_zoo.training.recipe import Recipe
from cfamc_zoo.training.start import Start
from cfamc_zoo.training.teacher import Teacher
from cfamc_zoo.zoo.catalogue.resolve import METRICS
from cfamc_zoo.zoo.network.encoder import Encoder

LONGEST_SILENCE = 60.0  # seconds; ten batches of the paper's recipe take a laptop half an hour


@dataclass(frozen=True)
class Report:
    """One report of progress; also one line of metrics.jsonl."""

    step: int  # batches done
    steps: int  # batches in all
    epoch: float
    loss: float  # of the last update, as are its parts
    parts: dict[str, float]
    learning_rate: float
    crops_per_second: float
    seconds: float  # since the start, pauses not counted
    seconds_left: float


@dataclass(frozen=True)
class Result:
    """What `train` ends with."""

    encoder: Encoder | None  # None where it was stopped and only finished weights are of use
    finished: bool  # False when `stop` ended it
    step: int
    seconds: float
    origin: dict[str, Any] = field(default_factory=dict)  # as `Progress.origin`
    teacher: dict[str, str] = field(default_factory=dict)  # as `Progress.teacher`


def train(
    recipe: Recipe,
    images: np.ndarray,
    run: Path,
    *,
    device: torch.device,
    report: Callable[[Report], None],
    stop: Callable[[], bool] = lambda: False,
    start: Start | None = None,
    teacher: Teacher | None = None,
) -> Result:
    """Trains, or goes on where the checkpoint in `run` left off.

    Args:
        recipe: what to do.
        images: (N, S, S, 3) uint8.
        run: folder for the checkpoint and metrics.jsonl; it must exist.
        device: where to train.
        report: called every `recipe.log_steps` batches, and after a batch that ends a minute or
            more after the last report.
        stop: asked after every batch; True ends the run there, with a checkpoint.
        start: what a new run goes on from, in place of random weights.
        teacher: for an objective that learns from one.

    Returns:
        The encoder that a release holds. A run that was stopped has one where its weights are
        averaged: those are of use at any time.

    Raises:
        UsageError: the images do not fill one batch, or it does not divide among processes.
        TrainingError: the loss is no longer finite, memory ran out or the device was lost; the
            last good checkpoint is kept.
        StorageError: the checkpoint cannot be written; the last one is kept.
    """
    with training_faults(), torch.backends.cudnn.flags(enabled=True, benchmark=True):
        engine = Engine(recipe, images, device, start.encoder if start else None, teacher)
        origin, record = start.origin if start else {}, teacher.record() if teacher else {}
        progress = Progress(origin=origin, teacher=record)
        if (run / FILE).exists():
            progress = load_checkpoint(run, engine)
        with _open_metrics(run, progress.step) as metrics:
            stopped = _run(engine, run, progress, metrics, report, stop)
        useful = not stopped or engine.averaged is not None
        encoder = released_encoder(engine, progress.step) if useful else None
    return Result(
        encoder, not stopped, progress.step, progress.seconds, progress.origin, progress.teacher
    )


def _run(
    engine: Engine,
    run: Path,
    progress: Progress,
    metrics: TextIO,
    report: Callable[[Report], None],
    stop: Callable[[], bool],
) -> bool:
    """Batches until the last one, or until `stop`: then True."""
    recipe = engine.recipe
    last = min(engine.steps, recipe.max_steps or engine.steps)
    crops = recipe.views.count * recipe.batch_size * recipe.replays
    before, started = progress.seconds, time.monotonic()
    logged_at, logged_step = started, progress.step
    saved_at = started
    stopped = False
    while progress.step < last and not stopped:
        engine.step(progress.step)
        progress.step += 1
        stopped = any_rank(stop(), engine.delta.device)
        ends = stopped or progress.step == last

        overdue = time.monotonic() - logged_at > LONGEST_SILENCE
        if ends or overdue or progress.step % recipe.log_steps == 0:
            loss = _finite(engine.loss.item(), progress.step, run)  # waits for the device
            now = time.monotonic()
            progress.seconds = before + now - started
            pace = (now - logged_at) / (progress.step - logged_step)
            logged_at, logged_step = now, progress.step
            line = Report(
                step=progress.step,
                steps=last,
                epoch=progress.step / len(engine.batches),
                loss=loss,
                parts={name: part.item() for name, part in engine.parts.items()},
                learning_rate=engine.optimizer.param_groups[0]["lr"],
                crops_per_second=crops / pace,
                seconds=progress.seconds,
                seconds_left=(last - progress.step) * pace,
            )
            if rank() == 0:
                with storage_errors(run / METRICS):
                    metrics.write(json.dumps(asdict(line)) + "\n")
                    metrics.flush()
                report(line)
        late = time.monotonic() - saved_at > recipe.checkpoint_minutes * 60
        late = any_rank(late, engine.delta.device)  # all save, or none
        if ends or late or progress.step % recipe.checkpoint_steps == 0:
            _finite(engine.loss.item(), progress.step, run)  # never replaces a good one by a bad
            progress.seconds = before + time.monotonic() - started
            save_checkpoint(run, engine, progress)
            saved_at = time.monotonic()
    return stopped


def _finite(loss: float, step: int, run: Path) -> float:
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss is {loss} at step {step}; the last good checkpoint in {str(run)!r} is "
            "kept: lower optimizer.lr or set precision=float32, and start a new run"
        )
    return loss


def _open_metrics(run: Path, step: int) -> TextIO:
    """metrics.jsonl for appending, without the lines after `step`: those will be run again."""
    if rank() > 0:
        return open(os.devnull, "w", encoding="utf-8")
    path = run / METRICS
    with storage_errors(path):
        lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
        # A line without its end was cut off by a kill.
        kept = [x for x in lines if x.endswith("\n") and json.loads(x)["step"] <= step]
        path.write_text("".join(kept), "utf-8")
        return path.open("a", encoding="utf-8")
