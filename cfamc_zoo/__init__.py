"""Robust self-supervised image encoders that people can use::

    import cfamc_zoo
    encoder = cfamc_zoo.load("resnet18-cifar10-free")  # nn.Module
    z = encoder(images)  # (N, 3, 32, 32) in [0, 1] -> (N, 512)

Nothing heavy is imported until it is used: torch comes with `load`, not with this module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cfamc_zoo.errors import ZooError
from cfamc_zoo.version import __version__

if TYPE_CHECKING:
    from cfamc_zoo.embedding.inputs import open_inputs
    from cfamc_zoo.embedding.public import embed, embed_stream, search
    from cfamc_zoo.evaluation.public import attack, attack_encoder, edits, probe
    from cfamc_zoo.export.publish import push, save
    from cfamc_zoo.pretrained import Encoder, load, load_classifier, wrap
    from cfamc_zoo.training.public import train
    from cfamc_zoo.zoo.catalogue.registry import find_model, list_models

__all__ = [
    "Encoder",
    "ZooError",
    "__version__",
    "attack",
    "attack_encoder",
    "edits",
    "embed",
    "embed_stream",
    "find_model",
    "list_models",
    "load",
    "load_classifier",
    "open_inputs",
    "probe",
    "push",
    "save",
    "search",
    "train",
    "wrap",
]

# Where each name lives, which is imported when it is asked for.
LIVES_IN = {
    "Encoder": "pretrained",
    "load": "pretrained",
    "load_classifier": "pretrained",
    "wrap": "pretrained",
    "find_model": "zoo.catalogue.registry",
    "list_models": "zoo.catalogue.registry",
    "embed": "embedding.public",
    "embed_stream": "embedding.public",
    "open_inputs": "embedding.inputs",
    "search": "embedding.public",
    "attack": "evaluation.public",
    "attack_encoder": "evaluation.public",
    "edits": "evaluation.public",
    "probe": "evaluation.public",
    "train": "training.public",
    "push": "export.publish",
    "save": "export.publish",
}


def __getattr__(name: str) -> Any:
    if name not in LIVES_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{LIVES_IN[name]}"), name)
