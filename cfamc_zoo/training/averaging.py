"""The encoder that a run releases: its weights, or their average with statistics of its own."""

from __future__ import annotations

import torch
from torch import nn

from cfamc_zoo.training.engine import Engine
from cfamc_zoo.training.features import Features
from cfamc_zoo.zoo.network.encoder import Encoder

# BatchNorm's means and variances are over all positions of this many crops: about 2% from those
# over all crops for the values of a vector, less for those of an image.
STATISTICS_CROPS = 4096


def released_encoder(engine: Engine, step: int) -> Encoder:
    """What a run has made after `step` batches.

    Averaged weights never saw an image: BatchNorm's running statistics beside them are those of
    the last weights. They are measured anew, on the perturbed crops of the batches to come.

    Source: Izmailov et al. (arXiv 1803.05407), section 3.2, for the exponential average.
    """
    if engine.averaged is None:
        return engine.encoder
    encoder = engine.averaged.module
    assert isinstance(encoder, Encoder)
    _measure_statistics(encoder, engine, step)
    return encoder


def _measure_statistics(encoder: Encoder, engine: Engine, step: int) -> None:
    norms = [m for m in encoder.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    batch = engine.recipe.batch_size * engine.recipe.views.count
    features = Features(encoder, engine.recipe.objective.features)
    encoder.train()
    for done in range(-(-STATISTICS_CROPS // batch)):
        for norm in norms:
            norm.momentum = 1 / (done + 1)  # the mean over all batches so far
        crops = engine.seen(step + done).contiguous(memory_format=engine.memory_format)
        with torch.no_grad():
            features(crops)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
