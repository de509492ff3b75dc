"""Random boxes of images, resized to the whole image: crops and patches, batched.

N counts crops, H and W are the image's height and width. Training and multi-crop evaluation
share it. Resampling is a separable linear map, hence two small matrix products a crop: no gather,
no loop, no host synchronization. Source: RandomResizedCrop as torchvision defines it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

Pair = tuple[float, float]


@dataclass(frozen=True)
class Boxes:
    """N boxes in pixels, and which of them are mirrored."""

    top: Tensor  # (N,) float32, whole numbers
    left: Tensor
    height: Tensor
    width: Tensor
    flip: Tensor  # (N,) bool


def draw_boxes(
    n: int, height: int, width: int, *, scale: Pair, ratio: Pair, generator: Generator
) -> Boxes:
    """Random boxes in images of that size, none mirrored, on the generator's device.

    Args:
        scale: least and largest area, as a part of the image's.
        ratio: least and largest width over height.
    """
    device = generator.device

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device) * (high - low) + low

    # torchvision draws boxes until one fits, ten times at most, then takes the whole image.
    area = uniform(n, 10, low=scale[0], high=scale[1]) * height * width
    log_ratio = [math.log(r) for r in ratio]
    drawn = torch.exp(uniform(n, 10, low=log_ratio[0], high=log_ratio[1]))
    wide, high = (area * drawn).sqrt().round(), (area / drawn).sqrt().round()
    fits = (wide > 0) & (wide <= width) & (high > 0) & (high <= height)
    first = fits.int().argmax(1, keepdim=True)
    whole = ~fits.any(1)
    wide = wide.gather(1, first)[:, 0].masked_fill(whole, width)
    high = high.gather(1, first)[:, 0].masked_fill(whole, height)
    top = (uniform(n) * (height - high + 1)).floor()
    left = (uniform(n) * (width - wide + 1)).floor()
    return Boxes(top, left, high, wide, torch.zeros(n, dtype=torch.bool, device=device))


def resized_crop(x: Tensor, boxes: Boxes) -> Tensor:
    """Box of each image resized bilinearly to the full size, then mirrored where it says so.

    Equal to torchvision's `resized_crop` (crops never shrink, so its antialiasing is idle).

    Args:
        x: (N, C, H, W).
        boxes: N of them.
    """
    rows = _resample_matrix(boxes.top, boxes.height, x.shape[-2])
    columns = _resample_matrix(boxes.left, boxes.width, x.shape[-1])
    columns = torch.where(boxes.flip[:, None, None], columns.flip(1), columns)
    return separable(x, rows, columns)


def _resample_matrix(start: Tensor, length: Tensor, size: int) -> Tensor:
    """(N, size, size) matrices that resample [start, start + length) to `size` points."""
    grid = torch.arange(size, device=start.device, dtype=torch.float32)
    source = (grid + 0.5) * (length / size)[:, None] - 0.5
    # Clamping to the box repeats its border pixels: nothing outside the crop is seen.
    source = source.clamp(min=0).minimum(length[:, None] - 1) + start[:, None]
    return (1 - (source[:, :, None] - grid).abs()).clamp(min=0)


def separable(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows @ x @ columns^T for each crop and channel.

    Args:
        x: (N, C, H, W).
        rows: (N, H, H).
        columns: (N, W, W).
    """
    n, c, h, w = x.shape
    # One matrix product a crop and axis: the channels ride along as further columns.
    x = x.transpose(1, 2).reshape(n, h, c * w)
    x = (rows @ x).reshape(n, h * c, w) @ columns.transpose(1, 2)
    return x.reshape(n, h, c, w).transpose(1, 2)
