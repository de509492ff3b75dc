"""Any module as an encoder: tried once, and refused in words where it cannot be one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from cfamc_zoo.errors import ModelError, UsageError, first_line
from cfamc_zoo.zoo.network.encoder import Encoder, normalization
from cfamc_zoo.zoo.network.families.wrapped import WrappedArchitecture
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.network.vectors import Vectors

E = TypeVar("E", bound=Encoder)
TRIED = 2  # images of noise
LAST = ("fc", "head", "heads", "classifier")  # what torchvision calls its classifiers


def wrap_module(
    kind: type[E],
    module: object,
    *,
    size: int = 224,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
) -> E:
    """As `cfamc_zoo.wrap`; `kind` is the class of the encoder."""
    network = _checked(module)
    preprocess = Preprocess(size=size, mean=_three(mean, "mean"), std=_three(std, "std"))
    vectors = Vectors(network).eval()
    width = _width(vectors, preprocess)
    architecture = WrappedArchitecture(type(network).__name__, width, preprocess.size)
    encoder = kind(architecture, preprocess=preprocess, layers={"backbone": vectors})
    weight = next(vectors.parameters(), None)
    return (encoder if weight is None else encoder.to(weight.device)).eval()


def refuse_classifier(module: object) -> None:
    """Refuses a network of timm or torchvision that is as they make it, with its classifier on.

    Of anybody else's module nobody knows whether its last layer is one.

    Raises:
        UsageError: it gives logits; says what takes the classifier off.
    """
    remedy = ""
    if callable(getattr(module, "reset_classifier", None)) and getattr(
        module, "num_classes", False
    ):
        remedy = "module.reset_classifier(0)"
    elif type(module).__module__.startswith("torchvision.models."):
        parts = ((name, getattr(module, name, None)) for name in LAST)
        remedy = next((f"module.{n} = torch.nn.Identity()" for n, p in parts if _ends(p)), "")
    if remedy:
        raise UsageError(
            f"module is a {type(module).__name__} with its classifier on, whose logits are no "
            f"vectors of images; take it off: {remedy} (or, where the logits are meant, give "
            "torch.nn.Sequential(module))"
        )


def _ends(part: object) -> bool:
    """Whether a part of a network makes logits."""
    return isinstance(part, nn.Module) and any(isinstance(m, nn.Linear) for m in part.modules())


def _checked(module: object) -> nn.Module:
    """The module, if it is one in float32 with values.

    Raises:
        UsageError: it is none, or none that has to be wrapped.
        ModelError: of another precision, or without values.
    """
    if isinstance(module, type):
        name = module.__name__
        raise UsageError(f"module is the class {name}; give one of it, like {name}()")
    if isinstance(module, Encoder):
        raise UsageError("module is an encoder of this package already; give it as it is")
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"module is of type {type(module).__name__}; give a torch.nn.Module from images to "
            "vectors (a function goes into the forward of one)"
        )
    weights = [p for p in module.parameters() if p.is_floating_point()]
    if any(p.is_meta for p in weights):
        raise ModelError(
            "the module's weights are on the meta device, so have no values; load them"
        )
    others = sorted({str(p.dtype).removeprefix("torch.") for p in weights} - {"float32"})
    if others:
        raise ModelError(
            f"the module's weights are {', '.join(others)}, in which no distance is exact; give "
            "module.float()"
        )
    return module


def _three(values: Any, name: str) -> tuple[float, float, float]:
    """One number a channel; a single one is for all."""
    if isinstance(values, Tensor) or hasattr(values, "tolist"):
        values = values.tolist()
    listed = list(values) if isinstance(values, Sequence) else [values] * 3
    if len(listed) != 3 or not all(type(value) in (int, float) for value in listed):
        raise UsageError(f"{name} is {values!r}; it must be three numbers, of pixels in [0, 1]")
    return float(listed[0]), float(listed[1]), float(listed[2])


@torch.no_grad()
def _width(vectors: Vectors, preprocess: Preprocess) -> int:
    """Values of one image, found on noise: an image of it alone, and then two.

    Raises:
        ModelError: the module raises, or does not give finite vectors, one an image.
    """
    shape = (TRIED, 3, preprocess.size, preprocess.size)
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    weight = next(vectors.parameters(), None)
    device = torch.device("cpu") if weight is None else weight.device
    layer = normalization(preprocess).to(device)
    for images in (noise[:1], noise):
        try:
            found = vectors(layer(images.to(device)))
        except ModelError:
            raise
        except Exception as error:  # anybody's code
            raise ModelError(
                f"the module failed on images of shape {tuple(images.shape)}: "
                f"{type(error).__name__}: {first_line(error)}; give wrap the size= that it takes, "
                "and where that is no RGB a module that converts first"
            ) from error
    if not bool(found.isfinite().all()):
        raise ModelError(
            "the module's vectors are not finite on noise in [0, 1]; look for a division by zero, "
            "or a mean and std that are not those of pixels in [0, 1]"
        )
    return found.shape[1]
