"""Square Attack: random search by squares. It asks for logits alone, never for gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from cfamc_zoo.evaluation.arguments import whole
from cfamc_zoo.evaluation.attacks.batch import Batch
from cfamc_zoo.evaluation.attacks.draws import Key, draw
from cfamc_zoo.evaluation.attacks.losses import margin
from cfamc_zoo.evaluation.attacks.survivors import Survivors
from cfamc_zoo.evaluation.victim.model import Victim
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
    are placed image by image, over the whole image, whatever its height and width; they are no
    larger than its shorter side.
    """

    queries: int = 5000

    @property
    def norms(self) -> tuple[str, ...]:
        return tuple(PROPOSALS)

    def __post_init__(self) -> None:
        whole(self.queries, "queries", least=1)

    @property
    def name(self) -> str:
        return "Square"

    def run(self, victim: Victim, batch: Batch, threat: Threat) -> Tensor:
        """As `Attack.run`."""
        survivors = Survivors(victim, batch)
        x, channels = batch.images, batch.images.shape[1]
        height, width = batch.images.shape[-2:]
        proposal = PROPOSALS[threat.norm](threat.eps)
        draws = draw(_keys(batch, 0), lambda r: r.random((self.queries, 5 + channels)))
        # Drawn for the whole run; float32 on the device.
        draws = draws.to(x)
        point = proposal.start(x, _keys(batch, 1))
        with victim.scoring(len(batch) * self.queries) as score:
            worst = margin(score(point), batch.labels)
            keep = survivors.confirm(point, worst >= 0)
            x, point, worst = x[keep], point[keep], worst[keep]
            for query in range(self.queries):
                if not len(survivors):
                    break
                tried = proposal.propose(
                    x, point, draws[survivors.rows, query], square_size(query, height, width)
                )
                found = margin(score(tried), survivors.labels)
                suspect = found >= 0
                better = found > worst
                point = torch.where(better.view(-1, 1, 1, 1), tried, point)
                worst = torch.where(better, found, worst)
                if bool(suspect.any()):
                    keep = survivors.confirm(tried, suspect)
                    x, point, worst = x[keep], point[keep], worst[keep]
        survivors.confirm_rest(point)
        return survivors.adversarial


def _keys(batch: Batch, part: int) -> list[Key]:
    """Of the queries (0) and of the start (1)."""
    return [(seed, part) for seed in batch.seeds]


def square_size(query: int, height: int, width: int) -> int:
    """Side of the square at that query, in pixels, before a norm's own least size.

    Its area is a part of the image's; where the image is too narrow for that, it is as wide.
    """
    part = PART / 2 ** sum(query > bound for bound in HALVINGS)
    return min(max(round(math.sqrt(part) * math.sqrt(height * width)), 1), height, width)


class _Linf:
    """Stripes first, then squares whose channels are all at plus or at minus eps."""

    def __init__(self, eps: float):
        self.eps = eps

    def start(self, x: Tensor, keys: Sequence[Key]) -> Tensor:
        shape = (x.shape[1], 1, x.shape[-1])
        stripes = draw(keys, lambda r: r.choice((-1.0, 1.0), shape)).to(x)
        return (x + self.eps * stripes).clamp(0, 1)

    def propose(self, x: Tensor, point: Tensor, draws: Tensor, size: int) -> Tensor:
        here = _window(x, draws[:, 0], draws[:, 1], size)
        signs = _signs(draws[:, 5:])[:, :, None]
        square = x.flatten(2).gather(2, here).add_(signs, alpha=self.eps).clamp_(0, 1)
        return point.flatten(2).scatter(2, here, square).view(x.shape)


class _L2:
    """Tiles first; then one window's perturbation moves to another place, in a new pattern."""

    def __init__(self, eps: float):
        self.eps = eps

    def _inside(self, x: Tensor, delta: Tensor) -> Tensor:
        """On the surface of the ball, then clipped to the image; (n, C, H * W) delta."""
        scale = self.eps / _norm(delta).clamp_min(1e-12)
        return torch.addcmul(x.flatten(2), delta, scale).clamp_(0, 1).view(x.shape)

    def start(self, x: Tensor, keys: Sequence[Key]) -> Tensor:
        height, width = x.shape[-2:]
        tile = max(min(height, width) // TILES, 1)
        count = height // tile, width // tile
        top, left = (height - tile * count[0]) // 2, (width - tile * count[1]) // 2

        def sample(generator: np.random.Generator) -> np.ndarray:
            signs = generator.choice((-1.0, 1.0), (x.shape[1], *count))
            turned = generator.random(count) > 0.5
            return np.concatenate((signs, turned[None]))

        drawn = draw(keys, sample).to(x)
        signs, turned = drawn[:, :-1], drawn[:, -1:] > 0
        bump = pattern(tile).to(x)
        tiles = torch.where(turned[..., None, None], bump.T, bump) * signs[..., None, None]
        # (N, C, row, column, y, x) to an image
        tiles = tiles.permute(0, 1, 2, 4, 3, 5).reshape(*signs.shape[:2], count[0] * tile, -1)
        delta = torch.zeros_like(x)
        delta[:, :, top : top + tiles.shape[2], left : left + tiles.shape[3]] = tiles
        return self._inside(x, delta.flatten(2))

    def propose(self, x: Tensor, point: Tensor, draws: Tensor, size: int) -> Tensor:
        # Odd, as the pattern has a middle; but no larger than the image.
        size = min(max(size, 3) | 1, *x.shape[-2:])
        delta = (point - x).flatten(2)
        here = _window(x, draws[:, 0], draws[:, 1], size)
        there = _window(x, draws[:, 2], draws[:, 3], size)
        # What the image has left of eps, and the norm that both windows hold: with the first one
        # emptied, the second does not count again what they share.
        left = (self.eps**2 - _norm(delta).square()).clamp_min(0)
        own = delta.gather(2, here)
        held = own.square().sum(2, keepdim=True)
        delta.scatter_(2, here, 0)
        held += delta.gather(2, there).square().sum(2, keepdim=True)
        delta.scatter_(2, there, 0)

        bump = _bumps(size, x.device)[(draws[:, 4] > 0.5).long(), None]
        fresh = _unit(_unit(own) + bump * _signs(draws[:, 5:])[:, :, None])
        delta.scatter_(2, here, fresh * (left / x.shape[1] + held).sqrt())
        return self._inside(x, delta)


PROPOSALS: Mapping[str, type[_Linf] | type[_L2]] = {"linf": _Linf, "l2": _L2}


def _norm(delta: Tensor) -> Tensor:
    """(n, 1, 1) of (n, C, P)."""
    return torch.linalg.vector_norm(delta, dim=(1, 2), keepdim=True)


def _unit(windows: Tensor) -> Tensor:
    """(n, C, P), each channel at unit norm; zero where it is zero."""
    return windows / (torch.linalg.vector_norm(windows, dim=2, keepdim=True) + 1e-12)


def _window(like: Tensor, top: Tensor, left: Tensor, size: int) -> Tensor:
    """A square of that side in each image; (n,) places in [0, 1).

    Returns:
        (n, C, size * size) int64: its pixels, counted along the rows of each channel. So a query
        costs what its square has pixels, not what the image has.
    """
    channels, height, width = like.shape[1:]
    rows, columns = height - size + 1, width - size + 1
    row = (top * rows).long().clamp_max(rows - 1)
    column = (left * columns).long().clamp_max(columns - 1)
    start = row * width + column
    at = torch.arange(size, device=like.device)
    inside = (at[:, None] * width + at).flatten()
    return (start[:, None] + inside)[:, None].expand(-1, channels, -1)


def _signs(draws: Tensor) -> Tensor:
    return torch.where(draws < 0.5, -1.0, 1.0).to(draws)


@lru_cache(maxsize=64)
def _bumps(size: int, device: torch.device) -> Tensor:
    """(2, size * size): the pattern as it is and turned, on the device."""
    return torch.stack((pattern(size), pattern(size).T)).flatten(1).to(device)


def pattern(size: int) -> Tensor:
    """(size, size) of unit norm: a bump in the upper half, its negative in the lower one."""
    bump = torch.zeros(size, size, dtype=torch.float32, device="cpu")
    half = size // 2
    bump[:half] = _bump(half, size)
    bump[half:] = -_bump(size - half, size)
    return bump / bump.norm().clamp_min(1e-12)


def _bump(height: int, width: int) -> Tensor:
    """Nested rectangles around the middle, the k-th adding 1 / k^2, at unit norm."""
    bump = torch.zeros(height, width, dtype=torch.float32, device="cpu")
    y, x = height // 2, width // 2
    for k in range(max(y, x) + 1):
        bump[max(y - k, 0) : y + k + 1, max(x - k, 0) : x + k + 1] += 1 / (k + 1) ** 2
    return bump / bump.norm().clamp_min(1e-12)
