"""Square Attack: random search by squares. It asks for logits alone, never for gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from cfamc_zoo.errors import UsageError
from cfamc_zoo.evaluation.attacks.draws import draw
from cfamc_zoo.evaluation.attacks.losses import margin
from cfamc_zoo.evaluation.attacks.standing import Standing
from cfamc_zoo.evaluation.target import Target
from cfamc_zoo.zoo.threat import Threat

PART = 0.8  # of the image that the first squares cover
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # queries after which it halves
TILES = 5  # a side, of the first L2 perturbation


@dataclass(frozen=True)
class Square:
    """Square Attack on the margin.

    Attributes:
        queries: an image, at most.

    Source: Andriushchenko et al., Square Attack: a query-efficient black-box adversarial attack
    via random search (arXiv 1912.00049), algorithms 1 to 3, with AutoAttack's schedule. Squares
    are placed image by image, over the whole image.
    """

    queries: int = 5000

    def __post_init__(self) -> None:
        if self.queries < 1:
            raise UsageError(f"queries is {self.queries}; it must be at least 1")

    @property
    def name(self) -> str:
        return "Square"

    def run(
        self,
        target: Target,
        images: Tensor,
        labels: Tensor,
        threat: Threat,
        *,
        seeds: Sequence[int],
    ) -> Tensor:
        """As `Attack.run`."""
        standing = Standing(target, images, labels)
        channels, side = images.shape[1], images.shape[-1]
        proposal = _Linf(images, threat) if threat.norm == "linf" else _L2(images, threat)
        draws = draw(seeds, 0, lambda r: r.random((self.queries, 5 + channels)))
        # Drawn for the whole run; float32 on the device.
        draws = draws.to(images)
        point = proposal.start(seeds)
        with torch.no_grad():
            worst = margin(target.search_logits(point), labels)
        keep = standing.strike(point, worst >= 0)
        point, worst = point[keep], worst[keep]
        for query in range(self.queries):
            if not len(standing):
                break
            rows = standing.rows
            size = square_size(query, side)
            tried = proposal.propose(rows, point, draws[rows, query], size)
            with torch.no_grad():
                found = margin(target.search_logits(tried), labels[rows])
            suspect = found >= 0
            better = found > worst
            point = torch.where(better.view(-1, 1, 1, 1), tried, point)
            worst = torch.where(better, found, worst)
            if bool(suspect.any()):
                keep = standing.strike(tried, suspect)
                point, worst = point[keep], worst[keep]
        standing.rest(point)
        return standing.adversarial


def square_size(query: int, side: int) -> int:
    """Side of the square at that query, in pixels, before a norm's own least size."""
    part = PART / 2 ** sum(query > bound for bound in HALVINGS)
    return min(max(round(math.sqrt(part) * side), 1), side)


class _Linf:
    """Stripes first, then squares whose channels are all at plus or at minus eps."""

    def __init__(self, images: Tensor, threat: Threat):
        self.images, self.threat = images, threat

    def start(self, seeds: Sequence[int]) -> Tensor:
        x = self.images
        shape = (x.shape[1], 1, x.shape[-1])
        stripes = draw(seeds, 1, lambda r: r.choice((-1.0, 1.0), shape)).to(x)
        return (x + self.threat.eps * stripes).clamp(0, 1)

    def propose(self, rows: Tensor, point: Tensor, draws: Tensor, size: int) -> Tensor:
        inside = _window(point, draws[:, 0], draws[:, 1], size)
        signs = _signs(draws[:, 5:])[:, :, None, None]
        changed = (self.images[rows] + self.threat.eps * signs).clamp(0, 1)
        return torch.where(inside, changed, point)


class _L2:
    """Tiles first; then one window's perturbation moves to another place, in a new pattern."""

    def __init__(self, images: Tensor, threat: Threat):
        self.images, self.threat = images, threat

    def _inside(self, x: Tensor, delta: Tensor) -> Tensor:
        """On the surface of the ball, then clipped to the image."""
        length = delta.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
        return (x + self.threat.eps * delta / length).clamp(0, 1)

    def start(self, seeds: Sequence[int]) -> Tensor:
        x = self.images
        side = x.shape[-1]
        tile = max(side // TILES, 1)
        count = side // tile
        first = (side - tile * count) // 2

        def sample(generator: np.random.Generator) -> np.ndarray:
            signs = generator.choice((-1.0, 1.0), (x.shape[1], count, count))
            turned = generator.random((count, count)) > 0.5
            return np.concatenate((signs, turned[None]))

        drawn = draw(seeds, 1, sample).to(x)
        signs, turned = drawn[:, :-1], drawn[:, -1:] > 0
        bump = pattern(tile).to(x)
        tiles = torch.where(turned[..., None, None], bump.T, bump) * signs[..., None, None]
        # (N, C, row, column, y, x) to an image
        tiles = tiles.permute(0, 1, 2, 4, 3, 5).reshape(*signs.shape[:2], count * tile, -1)
        delta = torch.zeros_like(x)
        end = first + count * tile
        delta[:, :, first:end, first:end] = tiles
        return self._inside(x, delta)

    def propose(self, rows: Tensor, point: Tensor, draws: Tensor, size: int) -> Tensor:
        x = self.images[rows]
        side = x.shape[-1]
        size = min(max(size, 3) | 1, side)  # odd, as the pattern has a middle
        delta = point - x
        here = _window(point, draws[:, 0], draws[:, 1], size)
        there = _window(point, draws[:, 2], draws[:, 3], size)
        # The norm that both windows hold, and what the image has left of eps.
        held = (delta.square() * (here | there)).sum((2, 3), keepdim=True)
        left = self.threat.eps**2 - delta.square().sum((1, 2, 3), keepdim=True)
        budget = (left.clamp_min(0) / x.shape[1] + held).sqrt()

        turned = (draws[:, 4] > 0.5).view(-1, 1, 1, 1)
        bump = pattern(size).to(x)
        bump = torch.where(turned, bump.T, bump) * _signs(draws[:, 5:])[:, :, None, None]
        own = delta * here
        own = own / (own.square().sum((2, 3), keepdim=True).sqrt() + 1e-12)
        fresh = own.masked_scatter(here.expand_as(own), own[here.expand_as(own)] + bump.flatten())
        fresh = fresh / (fresh.square().sum((2, 3), keepdim=True).sqrt() + 1e-12) * budget
        delta = torch.where(here, fresh, delta.masked_fill(there, 0))
        return self._inside(x, delta)


def _window(like: Tensor, top: Tensor, left: Tensor, size: int) -> Tensor:
    """(n, 1, S, S) bool: a square of that side; (n,) places in [0, 1)."""
    side = like.shape[-1]
    places = side - size + 1
    y = (top * places).floor().clamp_max(places - 1).view(-1, 1, 1, 1)
    x = (left * places).floor().clamp_max(places - 1).view(-1, 1, 1, 1)
    at = torch.arange(side, device=like.device)
    rows, columns = at.view(1, 1, -1, 1), at.view(1, 1, 1, -1)
    return (rows >= y) & (rows < y + size) & (columns >= x) & (columns < x + size)


def _signs(draws: Tensor) -> Tensor:
    return torch.where(draws < 0.5, -1.0, 1.0).to(draws)


@lru_cache(maxsize=64)
def pattern(size: int) -> Tensor:
    """(size, size) of unit norm: a bump in the upper half, its negative in the lower one."""
    bump = torch.zeros(size, size)
    half = size // 2
    bump[:half] = _bump(half, size)
    bump[half:] = -_bump(size - half, size)
    return bump / bump.norm().clamp_min(1e-12)


def _bump(height: int, width: int) -> Tensor:
    """Nested rectangles around the middle, the k-th adding 1 / k^2, at unit norm."""
    bump = torch.zeros(height, width)
    y, x = height // 2, width // 2
    for k in range(max(y, x) + 1):
        bump[max(y - k, 0) : y + k + 1, max(x - k, 0) : x + k + 1] += 1 / (k + 1) ** 2
    return bump / bump.norm().clamp_min(1e-12)
