"""The one door of every attack: what a person hands over, checked and converted before any work.

What was handed over is only read: it comes back as it is where it fits, else as a copy.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cfamc_zoo.errors import DataError, UnknownNameError, UsageError
from cfamc_zoo.zoo.threat import NORMS, Threat

CHANNELS = (1, 3, 4)  # of nearly all images; tell which end of a shape they are at
TURNED = "turn them, as with images.permute(0, 3, 1, 2)"


def images_of(images: object, device: torch.device | None = None) -> Tensor:
    """Images as every attack takes them.

    Args:
        images: (N, C, H, W) of any size and number of channels, in [0, 1]: a tensor of any
            floating-point type, on any device; an array; or a list of (C, H, W) ones. uint8 is
            taken as 0..255 and divided by 255.
        device: where they go; None is where they are.

    Returns:
        (N, C, H, W) float32 in [0, 1], contiguous, without a gradient.

    Raises:
        DataError: another type, shape or range; says which was wanted.
    """
    x = _tensor(images, "images")
    if not x.numel() and (x.ndim == 1 or not len(x)):
        raise DataError("there are no images to attack; give at least one")
    _check_shape(x.shape)
    if x.dtype == torch.uint8:
        x = x.to(device).float() / 255
    elif x.is_floating_point():
        x = x.to(device, torch.float32)
    else:
        raise DataError(
            f"images are {_type(x)}; give floating point in [0, 1], or uint8, which is divided "
            "by 255"
        )
    low, high = (value.item() for value in x.aminmax())
    if not (low >= 0 and high <= 1):
        raise DataError(_out_of_range(low, high))
    return x.contiguous()


def labels_of(labels: object, *, count: int, classes: int, device: torch.device) -> Tensor:
    """Labels as every attack takes them.

    Args:
        labels: (N,) or (N, 1) whole numbers of any type, or one-hot (N, classes): a tensor, an
            array or a list.
        count: N, the number of images.
        classes: how many logits the model returns.
        device: where they go.

    Returns:
        (N,) int64 in 0..classes - 1.

    Raises:
        DataError: another type or shape, a label that is not whole or that the model does not have.
    """
    y = _tensor(labels, "labels")
    if y.ndim == 0:
        raise DataError(f"labels is the one number {y.item()}; give one for each of {count} images")
    if len(y) != count:
        shape = f", of shape {tuple(y.shape)}" if y.ndim > 1 else ""
        raise DataError(f"there are {count} images and {len(y)} labels{shape}; give one each")
    if y.is_complex():
        raise DataError(f"labels are {_type(y)}; they must be whole numbers")
    if y.is_floating_point():
        wrong = y[(y != y.round()) | y.isinf()]  # NaN too
        if len(wrong):
            raise DataError(
                f"labels hold {wrong.flatten()[0].item():g}; they must be whole numbers, one class "
                "an image"
            )
    y = y.long()
    if y.numel() == count:
        y = y.reshape(count)
    elif y.shape == (count, classes):
        y = _from_one_hot(y)
    else:
        raise DataError(
            f"labels have shape {tuple(y.shape)}; give ({count},) class numbers, or one-hot rows "
            f"({count}, {classes}) for the {classes} classes that the model knows"
        )
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        counted = " (labels that count from 1: subtract 1)" if (low, high) == (1, classes) else ""
        raise DataError(f"labels are in {low}..{high}; the model knows 0..{classes - 1}{counted}")
    return y.to(device)


def threats_of(eps: object, norm: type[Threat]) -> list[Threat]:
    """The balls of these radii, each once.

    Args:
        eps: one radius or several: text like "8/255" (several with commas), any number, a Fraction,
            or a scalar of NumPy or torch; several as a list or an array of these.
        norm: of all of them.

    Raises:
        UsageError: none, or one that cannot be read or is impossible.
    """
    if isinstance(eps, str):
        values: Sequence[object] = eps.split(",")
    elif isinstance(eps, Tensor | np.ndarray):
        values = list(eps.flatten())
    else:
        values = list(eps) if isinstance(eps, list | tuple | range) else [eps]
    if not values:
        raise UsageError("there is no radius; give at least one, like 8/255")
    return [norm.of(text) for text in dict.fromkeys(map(radius_text, values))]


def norm_of(norm: object) -> type[Threat]:
    """The norm of that name, in capitals too.

    Raises:
        UnknownNameError: another one.
    """
    name = str(norm)
    if name.lower() not in NORMS:
        raise UnknownNameError("norm", name, NORMS)
    return NORMS[name.lower()]


def whole(value: object, name: str, *, least: int) -> int:
    """A whole number of any integer type.

    Raises:
        UsageError: another type, or less than `least`.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError as error:
        raise UsageError(f"{name} is {value!r}; it must be a whole number") from error
    if isinstance(value, bool):
        raise UsageError(f"{name} is {value}; it must be a whole number")
    if number < least:
        raise UsageError(f"{name} is {value!r}; it must be at least {least}")
    return number


def check_step(length: object) -> None:
    """Refuses what is no length of a step.

    Raises:
        UsageError: not a positive number.
    """
    number = not isinstance(length, bool | str) and hasattr(length, "__float__")
    if not number or not 0 < float(length) < math.inf:  # type: ignore[arg-type]
        raise UsageError(f"step size is {length!r}; it must be a positive number, like 1/255")


def radius_text(value: object) -> str:
    """One radius as results name it: a number by its shortest text, in its own precision.

    Raises:
        UsageError: neither text nor a number.
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, Tensor) and value.ndim == 0:
        value = value.detach().cpu()
        value = value.float().numpy()[()] if value.is_floating_point() else value.item()
    known = hasattr(value, "__float__") or hasattr(value, "__index__")
    if not known or isinstance(value, bool | np.bool_ | np.ndarray | Tensor):
        raise UsageError(
            f"epsilon {value!r} is of type {type(value).__name__}; give text or a number, like "
            '"8/255" or 0.031'
        )
    return str(value)


def _tensor(value: object, name: str) -> Tensor:
    """Anything that holds numbers as a plain dense tensor without a gradient; a view where it can.

    Raises:
        DataError: it holds none.
    """
    if isinstance(value, list | tuple):
        return _stacked(value, name)
    if not isinstance(value, Tensor):
        return _from_array(value, name)
    if value.layout != torch.strided or value.is_quantized or value.device.type == "meta":
        layout = str(value.layout).removeprefix("torch.")
        raise DataError(
            f"{name} is a {value.dtype} tensor, {layout}, on {value.device}; give a dense one with "
            "values"
        )
    value = value.detach().as_subclass(Tensor)
    return value.clone() if value.is_inference() else value


def _stacked(values: Sequence[object], name: str) -> Tensor:
    """A list of arrays, of tensors or of numbers."""
    if not any(hasattr(value, "shape") for value in values):
        return _from_array(values, name)
    parts = [_tensor(value, f"{name}[{i}]") for i, value in enumerate(values)]
    first = parts[0]
    for i, part in enumerate(parts):
        if part.shape != first.shape or part.dtype != first.dtype:
            raise DataError(
                f"{name}[{i}] is {_type(part)} {tuple(part.shape)}, {name}[0] is {_type(first)} "
                f"{tuple(first.shape)}; all must be alike"
            )
    return torch.stack([part.to(first.device) for part in parts])


def _from_array(value: object, name: str) -> Tensor:
    kind = type(value).__name__
    try:
        array: np.ndarray[Any, Any] = np.asarray(value)
        if array.dtype.kind == "f" and array.dtype.itemsize > 8:
            array = array.astype(np.float64)
        # A copy of its own: in this machine's byte order, forwards, and writable for torch.
        return torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))
    except (TypeError, ValueError, RuntimeError) as error:
        held = f" of {type(value[0]).__name__}" if isinstance(value, list | tuple) else ""
        raise DataError(
            f"{name} is of type {kind}{held}, which makes no array of numbers; give a tensor or "
            "an array"
        ) from error


def _check_shape(shape: torch.Size) -> None:
    given, wanted = tuple(shape), "they must be (N, C, H, W)"
    if len(shape) == 3:
        raise DataError(
            f"images have shape {given}; {wanted}: one image is images[None], grey ones are "
            "images[:, None]"
        )
    if len(shape) != 4:
        raise DataError(f"images have shape {given}; {wanted}")
    if 0 in shape:
        raise DataError(f"images have shape {given}, which is no pixel at all; {wanted}")
    if shape[1] == shape[2] > max(CHANNELS) and shape[3] in CHANNELS:
        raise DataError(f"images have shape {given}, (N, H, W, C); {wanted}: {TURNED}")


def layout_hint(shape: torch.Size) -> str:
    """Where a model does not take images of that shape, and their channels seem to come last."""
    last = len(shape) == 4 and shape[3] in CHANNELS and shape[1] not in CHANNELS
    return f"; these look like (N, H, W, C): {TURNED}" if last else ""


def _out_of_range(low: float, high: float) -> str:
    if low != low or high != high:
        return "images hold NaN; they must be in [0, 1]"
    remedy = ""
    if low < 0:
        remedy = ", before any normalization, which belongs into the model"
    elif high <= 255:
        remedy = ": divide them by 255" if high > 2 else ": clamp them"
    return f"images are in [{low:.9g}, {high:.9g}]; they must be in [0, 1]{remedy}"


def _from_one_hot(rows: Tensor) -> Tensor:
    if not bool(((rows == 0) | (rows == 1)).all() and (rows.sum(1) == 1).all()):
        raise DataError(
            f"labels have shape {tuple(rows.shape)} and are not one-hot: each row must hold one 1 "
            "and else 0, since an image has one class"
        )
    return rows.argmax(1)


def _type(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")
