"""Checkpoints of others as encoders: the paper's own, torchvision's, timm's, solo-learn's.

The only place that opens a `.pt`, and only as plain tensors. Every key of the file goes
somewhere: it becomes a tensor of the encoder, or is named as left out (heads, queues, momentum
copies), or is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cfamc_zoo.errors import ReleaseError, UnknownNameError, UsageError
from cfamc_zoo.zoo.encoder import Encoder, build_projector
from cfamc_zoo.zoo.spec import BACKBONE_BLOCKS, Architecture, Preprocess

BACKBONE = r"(?:conv1|bn1|layer[1-4])\..+"
# By layout: patterns of keys and what they become; "" leaves them out.
LAYOUTS: dict[str, tuple[tuple[str, str], ...]] = {
    "cf-amc-ssl": (
        (rf"(?:module\.)?backbone\.({BACKBONE})", r"backbone.\1"),
        (r"(?:module\.)?pre_feature\.([01]\..+)", r"representation.\1"),
        (r"(?:module\.)?projection\.([01]\..+)", r"projector.0.\1"),
        (r"(?:module\.)?projection\.3\.(.+)", r"projector.1.\1"),
    ),
    "torchvision": ((rf"(?:module\.)?({BACKBONE})", r"backbone.\1"), (r"(?:module\.)?fc\..+", "")),
    "timm": ((rf"(?:module\.)?({BACKBONE})", r"backbone.\1"), (r"(?:module\.)?fc\..+", "")),
    "solo-learn": (
        (rf"(?:backbone\.|encoder\.)?({BACKBONE})", r"backbone.\1"),
        (r"(?:backbone\.|encoder\.)?fc\..+", ""),
        (r"(?:projector|predictor|classifier|prototypes|queue|momentum_\w+)(?:[._].*)?", ""),
    ),
}
NORMALIZATIONS = {
    "none": Preprocess(),
    "imagenet": Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "cifar": Preprocess(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
}
USUAL = {"cf-amc-ssl": "none", "torchvision": "imagenet", "timm": "imagenet", "solo-learn": "cifar"}


@dataclass(frozen=True)
class Imported:
    """An encoder from a file, and the keys of the file that are not in it."""

    encoder: Encoder
    left_out: tuple[str, ...]


def import_checkpoint(path: Path, layout: str, *, normalization: str | None = None) -> Imported:
    """Reads a state dict, or a checkpoint that holds one under "state_dict".

    Architecture and sizes come from the tensors. A network without the paper's projector gets a
    representation that repeats its backbone's features.

    Args:
        path: a `.pt` or `.pth` that holds tensors and plain containers only.
        layout: "cf-amc-ssl", "torchvision", "timm" or "solo-learn".
        normalization: "none", "imagenet" or "cifar": what its training did to pixels in [0, 1].
            None is what the layout's public checkpoints were trained with.

    Raises:
        UnknownNameError: no such layout or normalization.
        ReleaseError: not plain tensors (nothing of it is executed), or keys and shapes that are
            not the layout's.
    """
    if layout not in LAYOUTS:
        raise UnknownNameError("layout", layout, LAYOUTS)
    normalization = normalization or USUAL[layout]
    if normalization not in NORMALIZATIONS:
        raise UnknownNameError("normalization", normalization, NORMALIZATIONS)
    tensors, left_out = _renamed(_state_dict(path), LAYOUTS[layout], f"{layout} file {str(path)!r}")
    architecture = _architecture(tensors, str(path))
    if "representation.0.weight" not in tensors:
        tensors |= _repeating_representation(architecture.features)
    size = 32 if architecture.stem == "cifar" else 224
    shift = NORMALIZATIONS[normalization]
    projected = "projector.1.weight" in tensors
    encoder = Encoder(
        architecture,
        preprocess=Preprocess(size=size, mean=shift.mean, std=shift.std),
        projector=build_projector(architecture) if projected else None,
    )
    try:
        encoder.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ReleaseError(f"{str(path)!r} does not fit: {reason}; is it {layout}?") from error
    return Imported(encoder.eval().requires_grad_(False), tuple(left_out))


def _state_dict(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling may raise anything; all of it means the same here
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ReleaseError(
            f"{str(path)!r} is not a file of plain tensors: {reason[:200]}; nothing of it was "
            "executed; save its state_dict alone"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content or not _all_tensors(content):
        raise ReleaseError(f"{str(path)!r} holds no state dict; save model.state_dict()")
    return dict(content)


def _all_tensors(content: dict[Any, Any]) -> bool:
    return all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())


def _renamed(
    state: dict[str, Tensor], rules: tuple[tuple[str, str], ...], where: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors under our names, and the keys that are left out."""
    tensors: dict[str, Tensor] = {}
    left_out, unknown = [], []
    for key, value in state.items():
        rule = next((r for r in rules if re.fullmatch(r[0], key)), None)
        if rule is None:
            unknown.append(key)
        elif rule[1]:
            name = re.sub(rule[0], rule[1], key)
            if name in tensors:
                raise ReleaseError(f"{where} has {name} twice, once as {key}")
            tensors[name] = value
        else:
            left_out.append(key)
    if unknown:
        raise ReleaseError(
            f"{where} has {len(unknown)} keys of no such layout: {', '.join(sorted(unknown)[:3])}; "
            f"give another --layout: {', '.join(LAYOUTS)}"
        )
    return tensors, left_out


def _architecture(tensors: dict[str, Tensor], where: str) -> Architecture:
    """Sizes as the tensors have them."""
    try:
        stem = tensors["backbone.conv1.weight"]
        kinds = "bottleneck" if "backbone.layer1.0.conv3.weight" in tensors else "basic"
        found = tuple(_count(tensors, rf"backbone\.layer{i}\.(\d+)\.conv1.weight") for i in "1234")
        names = [name for name, blocks in BACKBONE_BLOCKS.items() if blocks == (kinds, found)]
        backbone, kernel = names[0], stem.shape[-1]
        width = stem.shape[0]
        features = 8 * width * (4 if kinds == "bottleneck" else 1)
        shape: Callable[[str, int], int] = lambda key, default: (  # noqa: E731
            tensors[key].shape[0] if key in tensors else default
        )
        return Architecture(
            backbone=backbone,
            stem={3: "cifar", 7: "imagenet"}[kernel],  # type: ignore[arg-type]
            width=width,
            representation=shape("representation.0.weight", features),
            projection=shape("projector.1.weight", 1024),
        )
    except (KeyError, IndexError, UsageError) as error:
        raise ReleaseError(
            f"{where!r} holds no ResNet that is known here ({', '.join(BACKBONE_BLOCKS)}, 3x3 or "
            f"7x7 stem): {error}"
        ) from error


def _count(tensors: dict[str, Tensor], pattern: str) -> int:
    return sum(bool(re.fullmatch(pattern, key)) for key in tensors)


def _repeating_representation(features: int) -> dict[str, Tensor]:
    """A block that gives back its input, which is never negative: mean of a ReLU's outputs."""
    ones, zeros = torch.ones(features), torch.zeros(features)
    return {
        "representation.0.weight": torch.eye(features),
        "representation.0.bias": zeros,
        "representation.1.weight": ones * (1 + 1e-5) ** 0.5,  # takes BatchNorm's epsilon back
        "representation.1.bias": zeros,
        "representation.1.running_mean": zeros,
        "representation.1.running_var": ones,
        "representation.1.num_batches_tracked": torch.tensor(0),
    }
