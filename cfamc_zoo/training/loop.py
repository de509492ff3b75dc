"""The training loop, read from top to bottom.

B images a batch, V views an image, m replays a batch; crops = V * B * m.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cfamc_zoo.atomic import storage_errors
from cfamc_zoo.errors import TrainingError, UsageError
from cfamc_zoo.training.checkpoint import FILE, Progress, load_checkpoint, save_checkpoint
from cfamc_zoo.training.crops import make_views
from cfamc_zoo.training.free import initial_delta, replay
from cfamc_zoo.training.lars import Lars
from cfamc_zoo.training.loss import objective_loss
from cfamc_zoo.training.recipe import FreeAdversary, Optimizer, Recipe
from cfamc_zoo.zoo.encoder import Encoder, build_projector
from cfamc_zoo.zoo.precision import fast_dtype
from cfamc_zoo.zoo.threat import Linf, parse_epsilon

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Report:
    """One line of progress; also one line of metrics.jsonl."""

    step: int  # batches done
    steps: int  # batches in all
    epoch: float
    loss: float
    parts: dict[str, float]
    learning_rate: float
    crops_per_second: float
    seconds: float  # since the start, pauses not counted
    seconds_left: float


@dataclass(frozen=True)
class Result:
    """What `train` ends with."""

    encoder: Encoder
    finished: bool  # False when the time budget ended it
    step: int
    seconds: float


def train(
    recipe: Recipe,
    images: np.ndarray,
    run: Path,
    *,
    device: torch.device,
    report: Callable[[Report], None],
    max_seconds: float = math.inf,
) -> Result:
    """Trains, or goes on where the checkpoint in `run` left off.

    Args:
        recipe: what to do.
        images: (N, S, S, 3) uint8.
        run: folder for the checkpoint and metrics.jsonl; it must exist.
        device: where to train; the whole data set is put there.
        report: called every `recipe.log_steps` batches.
        max_seconds: stop after about so long, with a checkpoint.

    Raises:
        UsageError: fewer images than one batch.
        TrainingError: the loss is no longer finite; the last good checkpoint is kept.
        StorageError: the checkpoint cannot be written; the last one is kept.
    """
    batches = len(images) // recipe.batch_size
    if batches == 0:
        raise UsageError(
            f"{len(images)} images are fewer than one batch of {recipe.batch_size}; "
            "give more images or --set batch_size=..."
        )
    steps = batches * recipe.epochs
    last = min(steps, recipe.max_steps or steps)
    data = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device)

    torch.manual_seed(recipe.seed)
    encoder = Encoder(recipe.encoder, projector=build_projector(recipe.encoder))
    encoder = encoder.to(device=device, memory_format=torch.channels_last).train()
    optimizer = Lars(
        encoder.parameters(),
        lr=recipe.optimizer.lr,
        momentum=recipe.optimizer.momentum,
        weight_decay=recipe.optimizer.weight_decay,
        eta=recipe.optimizer.eta,
    )
    delta = initial_delta(recipe.views.count, recipe.batch_size, data.shape[-1], device)
    progress = Progress()
    if (run / FILE).exists():
        progress = load_checkpoint(run, encoder, optimizer, delta)
    metrics = _open_metrics(run, progress.step)

    dtype = {"auto": fast_dtype(device), "float32": torch.float32, "bfloat16": torch.bfloat16}
    precision = dtype[recipe.precision]
    generator = torch.Generator(device)
    loss = torch.zeros((), device=device)
    parts: dict[str, Tensor] = {}
    updates = 0

    def update(crops: Tensor) -> None:
        """One forward and backward pass and one step of the weights."""
        nonlocal loss, parts, updates
        rate = learning_rate(recipe.optimizer, updates, steps, recipe.replays)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        crops = crops.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            z = encoder(crops, "projection")
        z = z.float().view(recipe.views.count, -1, z.shape[-1])
        value, parts = objective_loss(z, recipe.objective)
        value.backward()
        optimizer.step()
        loss = value.detach()
        updates += 1

    started, logged = time.monotonic(), (time.monotonic(), progress.step)
    earlier = progress.seconds
    with storage_errors(run / METRICS), metrics:
        while progress.step < last:
            step = progress.step
            order = np.random.default_rng((recipe.seed, step // batches)).permutation(len(images))
            chosen = order[(step % batches) * recipe.batch_size :][: recipe.batch_size]
            generator.manual_seed(_mix(recipe.seed, step))
            views = make_views(
                data[torch.from_numpy(chosen).to(device)], recipe.views, generator
            )
            updates = step * recipe.replays
            match recipe.adversary:
                case FreeAdversary(eps=eps, step=size, replays=m):
                    threat = Linf(parse_epsilon(eps))
                    delta = replay(views, delta, threat, step=size, replays=m, update=update)
                case _:
                    update(views)

            progress.step += 1
            now = time.monotonic()
            progress.seconds = earlier + now - started
            out_of_time = now - started > max_seconds
            if progress.step % recipe.log_steps == 0 or progress.step == last:
                value = loss.item()
                if not math.isfinite(value):
                    raise TrainingError(
                        f"the loss is {value} at step {progress.step}; the checkpoint before it "
                        f"is kept in {str(run)!r}: lower optimizer.lr or set precision=float32"
                    )
                rate = (now - logged[0]) / (progress.step - logged[1])
                logged = (now, progress.step)
                line = Report(
                    step=progress.step,
                    steps=last,
                    epoch=progress.step / batches,
                    loss=value,
                    parts={name: part.item() for name, part in parts.items()},
                    learning_rate=optimizer.param_groups[0]["lr"],
                    crops_per_second=recipe.views.count * recipe.batch_size * recipe.replays / rate,
                    seconds=progress.seconds,
                    seconds_left=(last - progress.step) * rate,
                )
                metrics.write(json.dumps(line.__dict__) + "\n")
                report(line)
            due = progress.step % recipe.checkpoint_steps == 0
            if (due or out_of_time or progress.step == last) and math.isfinite(loss.item()):
                metrics.flush()
                save_checkpoint(run, recipe, encoder, optimizer, delta, progress)
            if out_of_time:
                break
    return Result(encoder, progress.step >= last, progress.step, progress.seconds)


def learning_rate(optimizer: Optimizer, update: int, steps: int, replays: int) -> float:
    """Rate of one weight update; `steps` batches of `replays` updates each."""
    period = steps * replays if optimizer.schedule == "cosine" else steps
    return optimizer.lr * 0.5 * (1 + math.cos(math.pi * update / period))


def _mix(seed: int, step: int) -> int:
    """One 63-bit seed from two numbers, so that randomness is a function of where a run is."""
    state = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0]
    return int(state >> np.uint64(1))


def _open_metrics(run: Path, step: int):  # type: ignore[no-untyped-def]
    """metrics.jsonl for appending, without the lines after `step`: they will be run again."""
    path = run / METRICS
    with storage_errors(path):
        kept = ""
        if path.exists():
            lines = path.read_text().splitlines(keepends=True)
            kept = "".join(x for x in lines if x.endswith("\n") and json.loads(x)["step"] <= step)
        path.write_text(kept)
        return path.open("a")
