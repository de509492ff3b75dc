"""Images in memory as an encoder takes them: its own size, RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from cfamc_zoo.errors import DataError, UsageError
from cfamc_zoo.zoo.catalogue.resolve import resolve
from cfamc_zoo.zoo.device import find_device
from cfamc_zoo.zoo.images.preprocess import fit_all
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.spec import Preprocess
from cfamc_zoo.zoo.release.loading import load_encoder

Images = np.ndarray | Tensor


def encoder_of(model: object) -> Encoder:
    """The encoder that a person gave: itself, or by its name, on the GPU if there is one.

    Raises:
        UnknownNameError, ReleaseError, HubError: as `resolve`.
        UsageError: no encoder; says how to make one.
    """
    if isinstance(model, str):
        return load_encoder(resolve(model)).to(find_device(None))
    if isinstance(model, Encoder):
        return model
    kind = model.__name__ if isinstance(model, type) else type(model).__name__
    raise UsageError(
        f"encoder is of type {kind}; give cfamc_zoo.wrap(module, size=...) of a torch.nn.Module, "
        "an encoder, or a model's name"
    )


def pixels_of(images: Images, preprocess: Preprocess, what: str) -> np.ndarray:
    """Images in memory as an encoder takes them.

    Args:
        images: (N, H, W, 3) or (N, 3, H, W) uint8 of any size, which become the input as
            `preprocess` says; or (N, 3, S, S) floating point in [0, 1], taken as they are.
        what: they are called in errors.

    Returns:
        (N, S, S, 3) uint8, or (N, 3, S, S) float32.

    Raises:
        DataError: another type, shape or range.
    """
    x: Any = images.detach().cpu() if isinstance(images, Tensor) else images
    x = np.asarray(x)
    if x.ndim == 4 and len(x) and x.dtype == np.uint8 and 0 not in x.shape:
        if x.shape[3] == 3:
            return fit_all(x, preprocess)
        if x.shape[1] == 3:
            return fit_all(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), preprocess)
    if x.ndim == 4 and len(x) and x.dtype.kind == "f" and x.shape[1] == 3:
        x = x.astype(np.float32, copy=False)
        if x.min() >= 0 and x.max() <= 1:
            return x
        raise DataError(f"{what} are in {x.min():g}..{x.max():g}; give values in [0, 1]")
    raise DataError(
        f"{what} are {x.dtype} {x.shape}; give (N, H, W, 3) uint8, or (N, 3, S, S) floating point "
        "in [0, 1]"
    )
