"""What a number under multi-crop aggregation means, in a sentence and as settings.

The paper draws an image's crops at random. An attack on a random model goes through the
expectation over its randomness (Athalye et al., Synthesizing Robust Adversarial Examples,
arXiv 1707.07397, and Obfuscated Gradients, arXiv 1802.00420). Here that expectation is the mean
over the crops of one draw, for the gradients and for the verdicts alike:

- One draw is one function, so runs can be repeated, and the attacks that compare losses (APGD,
  FAB, Square) compare those of images and not those of draws.
- The mean's gradient is exact: it is the expectation over the crops that are used.
- The attack knows the crops. Against crops drawn anew for each query it would be another attack,
  and the number says nothing of it.
"""

from __future__ import annotations

import json
from typing import Any

from torch import nn

from cfamc_zoo.zoo.network.multicrop import MultiCrop


def crops_settings(encoder: nn.Module) -> dict[str, Any] | None:
    """The plan as JSON reads it back, so that a state can be compared; None without crops."""
    if not isinstance(encoder, MultiCrop):
        return None
    return json.loads(json.dumps(encoder.plan.to_json()))


def crops_notes(encoder: nn.Module) -> list[str]:
    """One sentence for a person; none without crops."""
    if not isinstance(encoder, MultiCrop):
        return []
    plan = encoder.plan
    return [
        f"features are the mean over {plan.count} crops, drawn once from seed {plan.seed} and the "
        "same for every image; each gradient is that of the mean, so of the expectation over the "
        "crops (EOT, Athalye et al. 2018); accuracy under crops drawn anew is another number"
    ]
