"""One batch of training: views, adversary, loss, step.

B images a batch, V views an image. Of P processes each holds b = B / P images; its crops are
(V * b, 3, S, S), view by view.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cfamc_zoo.errors import UsageError
from cfamc_zoo.training.adversary import ascend, random_start, replay
from cfamc_zoo.training.batches import Batches
from cfamc_zoo.training.compilation import compiled
from cfamc_zoo.training.distributed import gather, rank, synchronize, world_size
from cfamc_zoo.training.features import Features
from cfamc_zoo.training.recipe import (
    FreeAdversary,
    NoAdversary,
    PgdAdversary,
    Recipe,
)
from cfamc_zoo.training.teacher import HEAD, Teacher, no_teacher
from cfamc_zoo.zoo.device import fast_dtype
from cfamc_zoo.zoo.network.encoder import Encoder, build_projector


@dataclass(frozen=True)
class _Batch:
    """Crops of a batch, this process's, by their roles; and the teacher's features, of all."""

    number: int
    clean: Tensor
    attacked: Tensor
    taught: tuple[Tensor, ...]


class Engine:
    """The parts of a run that change as it goes, and how one batch changes them.

    What a batch does is a function of the weights, the perturbation and the batch's number
    alone, so a resumed run is the same run.

    Args:
        recipe: what to do.
        images: (N, S, S, 3) uint8; as `Batches` takes them.
        device: where to train.
        start: the encoder to go on from, of the recipe's architecture; it is taken over, and
            gets a projector if it has none. Without it the weights are random.
        teacher: for an objective that learns from one, which gives the parts that are not
            trained.

    Raises:
        UsageError: fewer images than one batch, or one that does not divide among processes.
    """

    # Of weights and crops; None is what suits the network.
    layout: torch.memory_format | None = None

    def __init__(
        self,
        recipe: Recipe,
        images: np.ndarray,
        device: torch.device,
        start: Encoder | None = None,
        teacher: Teacher | None = None,
    ):
        _check_images(recipe, images)
        _check_teacher(recipe, images, teacher)
        self.recipe = recipe
        suits = getattr(torch, recipe.encoder.layout(device.type))
        self.memory_format: torch.memory_format = self.layout or suits
        share = recipe.batch_size // world_size()
        self.part = slice(rank() * share, (rank() + 1) * share)  # of the batch, this process's
        self.batches = Batches(recipe, images, device, self.part)
        self.steps = len(self.batches) * recipe.epochs

        torch.manual_seed(recipe.seed)
        self.encoder = _student(recipe, start, teacher, device, self.memory_format)
        self.trained = [p for p in self.encoder.parameters() if p.requires_grad]
        self.teacher: nn.Module | None = None
        if teacher is not None:
            self.teacher = Features(teacher.encoder, recipe.objective.taught)
            self.teacher.to(device).to(memory_format=self.memory_format)
        self.record = teacher.record() if teacher is not None else {}  # of who teaches
        self.encoder.preprocess = replace(self.encoder.preprocess, size=recipe.size)
        self.averaged: AveragedModel | None = None  # of the weights, after each batch
        if recipe.averaging:
            average = get_ema_multi_avg_fn(recipe.averaging)
            self.averaged = AveragedModel(self.encoder, multi_avg_fn=average)
        # What attacks pass through, and what updates do.
        student = Features(self.encoder, recipe.objective.features)
        self.attacked: nn.Module = compiled(student, recipe.compile, device)
        self.network = self.attacked
        if world_size() > 1:  # sums the weights' gradients over processes
            self.network = DistributedDataParallel(self.attacked, broadcast_buffers=False)
        self.optimizer = recipe.optimizer.make(self.trained)
        self.roles = recipe.objective.roles(recipe.views.count)
        perturbed = len(range(recipe.views.count)[self.roles.perturbed]) * share
        # Free training's perturbation, kept from batch to batch and over epochs.
        self.delta = torch.zeros(perturbed, *self.batches.image_shape, device=device)

        precisions = {"float32": torch.float32, "bfloat16": torch.bfloat16}
        self.precision = precisions.get(recipe.precision) or fast_dtype(device)
        self.updates = 0  # of the weights, since the start of the run
        self.loss = torch.zeros((), device=device)  # of the last update
        self.parts: dict[str, Tensor] = {}

    def step(self, number: int) -> None:
        """Trains on batch `number`, counted from the start of the run."""
        self.updates = number * self.recipe.replays
        batch = self._batch(number)

        def update(perturbed: Tensor) -> None:
            self._update(torch.cat((batch.clean, perturbed)), batch.taught)

        match self.recipe.adversary:
            case FreeAdversary(threat=threat, step=size, replays=replays):
                self.delta = replay(
                    batch.attacked, self.delta, threat, step=size, replays=replays, update=update
                )
            case _:
                update(batch.attacked + self._perturbation(batch))
        if self.averaged is not None:
            self.averaged.update_parameters(self.encoder)

    def seen(self, number: int) -> Tensor:
        """(V * b, 3, S, S): crops of a batch as an update sees them, perturbed as they then are."""
        batch = self._batch(number)
        return torch.cat((batch.clean, batch.attacked + self._perturbation(batch)))

    def _batch(self, number: int) -> _Batch:
        views = self.batches.take(number).unflatten(0, (self.recipe.views.count, -1))
        clean, attacked, shown = (
            views[role].flatten(0, 1)
            for role in (self.roles.clean, self.roles.perturbed, self.roles.taught)
        )
        taught: tuple[Tensor, ...] = ()
        if self.teacher is not None:
            with torch.no_grad():
                taught = self._features(self.teacher, shown)
        return _Batch(number, clean, attacked, taught)

    def _perturbation(self, batch: _Batch) -> Tensor:
        """What is added to crops before their first update."""
        attacked = batch.attacked
        match self.recipe.adversary:
            case NoAdversary():
                return torch.zeros_like(attacked)
            case FreeAdversary(threat=threat):
                return threat.project(attacked, self.delta)
            case PgdAdversary(threat=threat, step=size, steps=steps) as adversary:
                for parameter in self.trained:
                    parameter.requires_grad_(False)
                self.encoder.train(adversary.batchnorm == "training")
                delta = ascend(
                    attacked,
                    threat,
                    step=size,
                    steps=steps,
                    loss=self.recipe.objective.attack(self._look, attacked, *batch.taught),
                    start=self._start(adversary, batch),
                )
                self.encoder.train()
                for parameter in self.trained:
                    parameter.requires_grad_(True)
                return delta

    def _start(self, adversary: PgdAdversary, batch: _Batch) -> Tensor | None:
        """Where the attack begins; drawn for the whole batch, as crops are."""
        if adversary.start == "zero":
            return None
        views = len(batch.attacked) // (self.part.stop - self.part.start)
        shape = (views * self.recipe.batch_size, *batch.attacked.shape[1:])
        drawn = random_start(adversary.threat, shape, (self.recipe.seed, batch.number, 1))
        return drawn.unflatten(0, (views, -1))[:, self.part].flatten(0, 1).to(batch.attacked.device)

    def whole_delta(self) -> Tensor:
        """(V * B, 3, S, S): the perturbation of all processes, the same for any number of them."""
        share = self.part.stop - self.part.start
        return gather(self.delta.unflatten(0, (-1, share))).flatten(0, 1)

    def set_whole_delta(self, delta: Tensor) -> None:
        """The inverse of `whole_delta`."""
        whole = delta.unflatten(0, (-1, self.recipe.batch_size))
        self.delta.copy_(whole[:, self.part].flatten(0, 1))

    def _look(self, crops: Tensor) -> tuple[Tensor, ...]:
        """(V, B, D) float32, of all processes, of each feature that the objective reads."""
        return self._features(self.attacked, crops)

    def _features(self, network: nn.Module, crops: Tensor) -> tuple[Tensor, ...]:
        crops = crops.contiguous(memory_format=self.memory_format)
        reduced = self.precision != torch.float32
        with torch.autocast(crops.device.type, self.precision, enabled=reduced):
            features = network(crops)
        share = self.part.stop - self.part.start
        return tuple(gather(z.float().unflatten(0, (-1, share))) for z in features)

    def _update(self, crops: Tensor, taught: tuple[Tensor, ...]) -> None:
        """One forward and backward pass and one step of the weights."""
        rate = learning_rate(self.recipe, self.updates, len(self.batches))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        features = self._features(self.network, crops)
        loss, self.parts = self.recipe.objective.loss(*features, *taught)
        loss.backward()
        self.optimizer.step()
        self.loss = loss.detach()
        self.updates += 1


def _check_images(recipe: Recipe, images: np.ndarray) -> None:
    """Refuses images that make no batch of the recipe's."""
    if len(images) < recipe.batch_size:
        raise UsageError(
            f"{len(images)} images are fewer than one batch of {recipe.batch_size}; "
            "give more images or --set batch_size=..."
        )
    if recipe.batch_size % world_size():
        raise UsageError(
            f"batch_size {recipe.batch_size} does not divide among {world_size()} processes; "
            "--set batch_size to a multiple"
        )
    if images.shape[1:] != (recipe.size, recipe.size, 3):
        raise UsageError(
            f"images are {images.shape[1:]}, the recipe's are {recipe.size} pixels wide and "
            f"high; resize them or --set size={images.shape[1]}"
        )


def _check_teacher(recipe: Recipe, images: np.ndarray, teacher: Teacher | None) -> None:
    """Refuses an objective without the teacher that it needs, and one that teaches nothing."""
    if teacher is not None:
        teacher.refuse_constant(recipe.objective.taught, images)
    elif recipe.objective.taught:
        raise UsageError(no_teacher(recipe))


def _student(
    recipe: Recipe,
    start: Encoder | None,
    teacher: Teacher | None,
    device: torch.device,
    layout: torch.memory_format,
) -> Encoder:
    """The network that learns, its parts that are not trained frozen."""
    trained = recipe.objective.trained
    projector = build_projector(recipe.encoder)
    encoder = start or Encoder(recipe.encoder)
    encoder.projector = encoder.projector or projector
    if teacher is not None:
        teacher.hand_over(encoder, trained)
    encoder = encoder.to(device).to(memory_format=layout).train().requires_grad_()
    encoder = synchronize(encoder, device)
    for name, part in encoder.named_children():
        if name in HEAD and name not in trained:
            part.requires_grad_(False)
    return encoder


def learning_rate(recipe: Recipe, update: int, epoch_steps: int) -> float:
    """Rate of one weight update, counted from the start of the run; an epoch has `epoch_steps`
    batches, and a batch `recipe.replays` updates."""
    whole = epoch_steps * recipe.epochs * recipe.replays
    warmup = round(recipe.optimizer.warmup * whole)
    if update < warmup:
        return recipe.optimizer.lr * (update + 1) / (warmup + 1)
    match recipe.optimizer.schedule:
        case "cosine":
            update, period = update - warmup, whole - warmup
        case "cosine-per-batch":
            period = epoch_steps * recipe.epochs
        case "cosine-per-epoch":
            period = epoch_steps * recipe.replays
            update %= period
    return recipe.optimizer.lr * 0.5 * (1 + math.cos(math.pi * update / period))
