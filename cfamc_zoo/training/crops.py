"""Images to views: every crop of a batch at once, by batched tensor operations.

N counts crops, C = 3 channels, S is the image side. Each crop has its own random parameters,
drawn first (`draw`) and applied after (`apply`), so that every operation can be held against
torchvision's own on the same parameters. Resampling and blurring are separable linear maps.
Sources: ColorJitter as torchvision defines it; the augmentation of EMP-SSL (arXiv 2304.03977)
and CF-AMC-SSL (arXiv 2501.03507).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from cfamc_zoo.training.recipe import Views
from cfamc_zoo.zoo.network.boxes import Boxes, draw_boxes, resized_crop, separable

BLUR_RADIUS = 8  # pixels: four sigma at the largest sigma of the recipes, 2
GREY = (0.2989, 0.587, 0.114)  # ITU-R 601-2 luma, as in torchvision

# The three blends of the colour jitter, and hue.
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


@dataclass(frozen=True)
class CropParameters(Boxes):
    """Random parameters of N crops: their boxes, and what is done to their colours."""

    factors: Tensor  # (N, 3) brightness, contrast, saturation; 1 changes nothing
    hue: Tensor  # (N,) turns in [-0.5, 0.5]; 0 changes nothing
    order: Tensor  # (N, 4) int64, a permutation of BRIGHTNESS..HUE
    grey: Tensor  # (N,) bool
    sigma: Tensor  # (N,) blur in pixels; 0 leaves the crop sharp
    solarize: Tensor  # (N,) bool


def draw(views: Views, n: int, size: int, generator: Generator) -> CropParameters:
    """Random parameters for `n` crops of `size` x `size` images, on the generator's device."""
    device = generator.device

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device) * (high - low) + low

    if views.padding:
        boxes = padded_boxes(n, size, views.padding, generator)
    else:
        boxes = draw_boxes(n, size, size, scale=views.scale, ratio=views.ratio, generator=generator)
    jittered = uniform(n) < views.jitter_p
    strength = torch.tensor(views.jitter[:3], device=device)
    factors = 1 + (2 * uniform(n, 3) - 1) * strength
    hue = (2 * uniform(n) - 1) * views.jitter[3]
    return CropParameters(
        **vars(boxes) | {"flip": uniform(n) < views.flip_p},
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
    x = resized_crop(images, p)
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
    crops = images[part].repeat(views.count, 1, 1, 1)
    if views.autoaugmented:
        seeds = torch.randint(
            2**62, (views.count, len(images)), generator=generator, device=generator.device
        )
        mine_last = seeds[-views.autoaugmented :, part].flatten()
        crops[-len(mine_last) :] = autoaugment(crops[-len(mine_last) :], mine_last)
    crops = crops.float() / 255
    return apply(crops, CropParameters(**mine))


def padded_boxes(n: int, size: int, padding: int, generator: Generator) -> Boxes:
    """Boxes of the image's own size out of the padded image, none mirrored.

    What lies outside the image is black: no pixel of it is a neighbour.
    """
    device = generator.device
    top, left = torch.randint(
        -padding, padding + 1, (2, n), generator=generator, device=device
    ).float()
    whole = torch.full((n,), float(size), device=device)
    return Boxes(top, left, whole, whole, torch.zeros(n, dtype=torch.bool, device=device))


def autoaugment(images: Tensor, seeds: Tensor) -> Tensor:
    """Each image changed by a random part of AutoAugment's policy for CIFAR-10, grey around it.

    Args:
        images: (N, 3, S, S) uint8.
        seeds: (N,) int64; what is done to an image is a function of its seed.

    Source: AutoAugment (arXiv 1805.09501), as torchvision has it.
    """
    from torchvision.transforms import AutoAugment, AutoAugmentPolicy

    change = AutoAugment(AutoAugmentPolicy.CIFAR10, fill=[128.0] * 3)
    with torch.random.fork_rng(devices=[]):
        changed = []
        for image, seed in zip(images, seeds.tolist(), strict=True):
            torch.default_generator.manual_seed(seed)
            changed.append(change(image))
    return torch.stack(changed)


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
    return separable(x, matrix, matrix)


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
