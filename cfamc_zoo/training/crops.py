"""Images to views: every crop of a batch at once, by batched tensor operations.

N counts crops, C = 3 channels, S is the image side. Each crop has its own random parameters,
drawn first (`draw`) and applied after (`apply`), so that every operation can be held against
torchvision's own on the same parameters. Resampling and blurring are separable linear maps,
hence two small matrix products a crop: no gather, no loop, no host synchronization.
Sources: RandomResizedCrop and ColorJitter as torchvision defines them; the augmentation of
EMP-SSL (arXiv 2304.03977) and CF-AMC-SSL (arXiv 2501.03507).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from cfamc_zoo.training.recipe import Views

BLUR_RADIUS = 8  # pixels: four sigma at the largest sigma of the recipes, 2
GREY = (0.2989, 0.587, 0.114)  # ITU-R 601-2 luma, as in torchvision

# The three blends of the colour jitter, and hue.
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


@dataclass(frozen=True)
class CropParameters:
    """Random parameters of N crops. Boxes are in pixels, angles in turns."""

    top: Tensor  # (N,) float32, whole numbers
    left: Tensor
    height: Tensor
    width: Tensor
    flip: Tensor  # (N,) bool
    factors: Tensor  # (N, 3) brightness, contrast, saturation; 1 changes nothing
    hue: Tensor  # (N,) in [-0.5, 0.5]; 0 changes nothing
    order: Tensor  # (N, 4) int64, a permutation of BRIGHTNESS..HUE
    grey: Tensor  # (N,) bool
    sigma: Tensor  # (N,) blur in pixels; 0 leaves the crop sharp
    solarize: Tensor  # (N,) bool


def draw(views: Views, n: int, size: int, generator: Generator) -> CropParameters:
    """Random parameters for `n` crops of `size` x `size` images, on the generator's device."""
    device = generator.device

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device) * (high - low) + low

    # torchvision draws boxes until one fits, ten times at most, then takes the whole image.
    area = uniform(n, 10, low=views.scale[0], high=views.scale[1]) * size * size
    log_ratio = [math.log(r) for r in views.ratio]
    ratio = torch.exp(uniform(n, 10, low=log_ratio[0], high=log_ratio[1]))
    width, height = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (width > 0) & (width <= size) & (height > 0) & (height <= size)
    first = fits.int().argmax(1, keepdim=True)
    whole = ~fits.any(1)
    width = width.gather(1, first)[:, 0].masked_fill(whole, size)
    height = height.gather(1, first)[:, 0].masked_fill(whole, size)
    top = (uniform(n) * (size - height + 1)).floor()
    left = (uniform(n) * (size - width + 1)).floor()

    jittered = uniform(n) < views.jitter_p
    strength = torch.tensor(views.jitter[:3], device=device)
    factors = 1 + (2 * uniform(n, 3) - 1) * strength
    hue = (2 * uniform(n) - 1) * views.jitter[3]
    return CropParameters(
        top=top,
        left=left,
        height=height,
        width=width,
        flip=uniform(n) < views.flip_p,
        factors=torch.where(jittered[:, None], factors, 1.0),
        hue=torch.where(jittered, hue, 0.0),
        order=uniform(n, 4).argsort(1),
        grey=uniform(n) < views.grey_p,
        sigma=torch.where(
            uniform(n) < views.blur_p,
            uniform(n, low=views.blur_sigma[0], high=views.blur_sigma[1]),
            0.0,
        ),
        solarize=uniform(n) < views.solarize_p,
    )


def apply(images: Tensor, p: CropParameters) -> Tensor:
    """The crops that the parameters describe.

    Args:
        images: (N, 3, S, S) float32 in [0, 1].
        p: parameters of N crops.

    Returns:
        (N, 3, S, S) float32 in [0, 1].
    """
    x = resized_crop(images, p.top, p.left, p.height, p.width, p.flip)
    x = jitter(x, p.factors, p.hue, p.order)
    x = torch.where(p.grey[:, None, None, None], luma(x), x)
    x = gaussian_blur(x, p.sigma)
    return torch.where(p.solarize[:, None, None, None] & (x >= 0.5), 1 - x, x)


def make_views(
    images: Tensor, views: Views, generator: Generator, *, part: slice = slice(None)
) -> Tensor:
    """`views.count` crops of each image of a part of the batch.

    Args:
        images: (B, 3, S, S) uint8, on the generator's device: the whole batch.
        part: the images whose crops are wanted; the others' parameters are drawn all the same,
            so that a crop does not depend on who makes it.

    Returns:
        (V * b, 3, S, S) float32 in [0, 1], view by view: crop v of image i at v * b + i.
    """
    drawn = draw(views, views.count * len(images), images.shape[-1], generator)
    mine = {
        f.name: getattr(drawn, f.name).unflatten(0, (views.count, -1))[:, part].flatten(0, 1)
        for f in fields(drawn)
    }
    crops = images[part].repeat(views.count, 1, 1, 1).float() / 255
    return apply(crops, CropParameters(**mine))


def resized_crop(
    x: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor, flip: Tensor
) -> Tensor:
    """Box of each image resized bilinearly to the full side, then mirrored where `flip`.

    Equal to torchvision's `resized_crop` (crops never shrink, so its antialiasing is idle).
    """
    rows = _resample_matrix(top, height, x.shape[-2])
    columns = _resample_matrix(left, width, x.shape[-1])
    columns = torch.where(flip[:, None, None], columns.flip(1), columns)
    return _separable(x, rows, columns)


def _resample_matrix(start: Tensor, length: Tensor, size: int) -> Tensor:
    """(N, size, size) matrices that resample [start, start + length) to `size` points."""
    grid = torch.arange(size, device=start.device, dtype=torch.float32)
    source = (grid + 0.5) * (length / size)[:, None] - 0.5
    # Clamping to the box repeats its border pixels: nothing outside the crop is seen.
    source = source.clamp(min=0).minimum(length[:, None] - 1) + start[:, None]
    return (1 - (source[:, :, None] - grid).abs()).clamp(min=0)


def _separable(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows @ x @ columns^T for each crop and channel; x (N, C, S, S), matrices (N, S, S)."""
    n, c, h, w = x.shape
    # One matrix product a crop and axis: the channels ride along as further columns.
    x = x.transpose(1, 2).reshape(n, h, c * w)
    x = (rows @ x).reshape(n, h * c, w) @ columns.transpose(1, 2)
    return x.reshape(n, h, c, w).transpose(1, 2)


def luma(x: Tensor) -> Tensor:
    """(N, 3, S, S) to (N, 1, S, S)."""
    return GREY[0] * x[:, :1] + GREY[1] * x[:, 1:2] + GREY[2] * x[:, 2:]


def jitter(x: Tensor, factors: Tensor, hue: Tensor, order: Tensor) -> Tensor:
    """Brightness, contrast, saturation and hue in each crop's own order.

    Hue is the costly one, so it runs once, between the blends that a crop's order puts before
    it and those that come after.
    """
    hue_at = (order == HUE).int().argmax(1)
    for position in range(3):
        x = _blend(x, factors, order[:, position], position < hue_at)
    x = shift_hue(x, hue)
    for position in range(1, 4):
        x = _blend(x, factors, order[:, position], position > hue_at)
    return x


def _blend(x: Tensor, factors: Tensor, operation: Tensor, active: Tensor) -> Tensor:
    """One of the three blends: x towards black, its mean luma or its luma."""
    factor = factors.gather(1, operation.clamp(max=2)[:, None])[:, 0]
    factor = torch.where(active, factor, 1.0)[:, None, None, None]
    grey = luma(x)
    operation = operation[:, None, None, None]
    towards = torch.where(operation == CONTRAST, grey.mean((2, 3), keepdim=True), grey)
    towards = torch.where(operation == BRIGHTNESS, 0.0, towards)
    return torch.lerp(towards.expand_as(x), x, factor).clamp(0, 1)


def shift_hue(x: Tensor, turns: Tensor) -> Tensor:
    """Hue rotated by `turns` (N,), saturation and value kept: torchvision's HSV definition."""
    value, _ = x.max(1)
    chroma = value - x.amin(1)
    r, g, b = x.unbind(1)
    safe = torch.where(chroma == 0, 1.0, chroma)
    hue = torch.where(
        value == r,
        (g - b) / safe,
        torch.where(value == g, 2 + (b - r) / safe, 4 + (r - g) / safe),
    )
    hue = hue + 6 * turns[:, None, None]
    # value - chroma * clamp(min(k, 4 - k), 0, 1) with k = (n + hue) mod 6, n = 5, 3, 1.
    offsets = torch.tensor((5.0, 3.0, 1.0), device=x.device)[:, None, None]
    k = (offsets + hue[:, None]) % 6
    return value[:, None] - chroma[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def gaussian_blur(x: Tensor, sigma: Tensor) -> Tensor:
    """True Gaussian of `sigma` pixels (N,) over 17 taps, reflected borders; 0 changes nothing.

    Equal to torchvision's `gaussian_blur(kernel_size=17)`. The paper's code uses Pillow's,
    which approximates the Gaussian by boxes and repeats the border.
    """
    matrix = _blur_matrix(sigma, x.shape[-1])
    return _separable(x, matrix, matrix)


def _blur_matrix(sigma: Tensor, size: int) -> Tensor:
    taps = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=sigma.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (taps / sigma.clamp(min=1e-3)[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    at = torch.arange(size, device=sigma.device)[:, None] + taps.long()
    at = at.abs()
    at = torch.where(at >= size, 2 * (size - 1) - at, at)
    matrix = torch.zeros(len(sigma), size, size, device=sigma.device)
    return matrix.scatter_add_(
        2, at.expand(len(sigma), -1, -1), kernel[:, None].expand(-1, size, -1)
    )
