"""What a recipe's pretraining computes: a measure that depends on no device."""

from __future__ import annotations

from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from cfamc_zoo.training.recipe import PgdAdversary, Recipe
from cfamc_zoo.zoo.network.encoder import Encoder, build_projector
from cfamc_zoo.zoo.network.families.resnet import ResNetArchitecture


def passes_per_image(recipe: Recipe) -> int:
    """Forward and backward passes of the network that an epoch takes for each image.

    A step of an attack counts as a pass of each view that it perturbs. What a teacher computes,
    and what it took to make it, does not count.
    """
    views = range(recipe.views.count)
    roles = recipe.objective.roles(len(views))
    clean, perturbed = len(views[roles.clean]), len(views[roles.perturbed])
    adversary = recipe.adversary
    steps = adversary.steps if isinstance(adversary, PgdAdversary) else 0
    return recipe.replays * (clean + perturbed) + steps * perturbed


def flop_per_pass(recipe: Recipe) -> float:
    """Of a forward and a backward pass of one view: three times those of the forward pass."""
    return 3.0 * _forward_flop(recipe.encoder, recipe.size)


@cache
def _forward_flop(architecture: ResNetArchitecture, size: int) -> int:
    """Nothing is computed for it: the tensors have shapes alone."""
    with torch.device("meta"):
        encoder = Encoder(architecture, projector=build_projector(architecture)).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            encoder(torch.zeros(1, 3, size, size), "projection")
    return int(counter.get_total_flops())
