"""How far an attacker moves an encoder's vectors, measured without any labels."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cfamc_zoo.errors import DataError
from cfamc_zoo.evaluation.attacks.feature import DISTANCES, FeatureAttack
from cfamc_zoo.evaluation.batching import in_batches
from cfamc_zoo.evaluation.intervals import wilson
from cfamc_zoo.evaluation.target import Target, attacked
from cfamc_zoo.zoo.encoder import Encoder
from cfamc_zoo.zoo.multicrop import MultiCrop
from cfamc_zoo.zoo.threat import threat_of


class FeatureReader(nn.Module):
    """One feature of an encoder as a module from images to vectors."""

    def __init__(self, encoder: Encoder | MultiCrop, feature: str):
        super().__init__()
        self.encoder, self.feature = encoder, feature

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images, self.feature)


@dataclass(frozen=True)
class FeatureRobustness:
    """What label-free attacks did at one radius.

    f is the encoder, d the distance, x and x' are two different images of the N. x^ is x pushed
    away from f(x); x>x' is x pulled onto f(x'). Images are pulled in fixed random pairs, each
    onto its partner.

    Attributes:
        eps: as it was given.
        push_quantiles: (N,) of each x^: the universal quantile of d(f(x^), f(x)), that is the
            part of all pairs of clean images that are at most so far apart. 0.5 means: the
            attacker moved the vector as far as a median pair is apart.
        pull_quantiles: of each x>x': the universal quantile of d(f(x>x'), f(x')). Near 0 means:
            the image passes for its partner.
        breakaway_risk: the part of all (x, x') with d(f(x^), f(x')) < d(f(x^), f(x)): how often
            a random other image is nearer to the attacked one than its own clean self.
        overlap_risk: the part of the pairs with d(f(x), f(x'>x)) < d(f(x), f(x>x')): x' pulled
            onto x comes nearer to x than x itself stays when it is pulled onto x'.
        retrieved: one an image: whether the clean vector nearest to f(x^) is f(x), so whether a
            search with the attacked image still finds the image (top-1 retrieval).
        seconds: what it took.

    Source: Petrov and Kwiatkowska (arXiv 2210.04076), section 3; risks as in their public code.
    """

    eps: str
    push_quantiles: list[float]
    pull_quantiles: list[float]
    breakaway_risk: float
    overlap_risk: float
    retrieved: list[bool]
    seconds: float

    @property
    def retrieval(self) -> tuple[float, float, float]:
        """Top-1 retrieval accuracy under attack and its 95% interval, percent."""
        n, k = len(self.retrieved), sum(self.retrieved)
        low, high = wilson(k, n)
        return 100 * k / n, 100 * low, 100 * high


def evaluate_features(
    reader: nn.Module,
    images: Tensor,
    *,
    attack: FeatureAttack,
    epsilons: list[str],
    norm: str = "linf",
    seed: int = 0,
    batch_size: int = 64,
    advance: Callable[[int, str], None] = lambda n, status: None,
    say: Callable[[str], None] = lambda text: None,
) -> list[FeatureRobustness]:
    """Pushes and pulls every image at each radius.

    Args:
        reader: (N, 3, S, S) in [0, 1] to (N, D), on the images' device.
        images: (N, 3, S, S) float32 in [0, 1]; at least three.
        epsilons: radii in pixels, "8/255" or "0.03".
        norm: "linf" or "l2", of the perturbation.
        advance: told how many attacks are done, of 2 N for each radius.

    Raises:
        DataError: fewer than three images, or images outside [0, 1].
        ModelError: the encoder raises or returns NaN.
    """
    n = len(images)
    if n < 3:
        raise DataError(f"{n} images have no pairs to compare; give at least 3")
    threats = [threat_of(norm, eps) for eps in epsilons]
    measure = DISTANCES[attack.distance]
    reader.eval()
    with torch.no_grad():
        width = reader(images[:1]).shape[1]
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    left, right = order[: n // 2], order[n // 2 : 2 * (n // 2)]
    partner = torch.full((n,), -1)
    partner[left], partner[right] = right, left
    results = []
    nobody = torch.zeros(n, dtype=torch.long, device=images.device)
    with attacked(reader, images, nobody, width) as target:
        clean = _vectors(target, images, batch_size, say)
        between = _distances(attack.distance, clean, clean)
        pairs = between[torch.triu(torch.ones_like(between), 1) > 0].sort().values
        for eps, threat in zip(epsilons, threats, strict=True):
            start = time.perf_counter()
            pushed, pulled = torch.empty_like(clean), torch.empty_like(clean)

            def work(
                rows: Tensor,
                threat: object = threat,
                pushed: Tensor = pushed,
                pulled: Tensor = pulled,
                eps: str = eps,
            ) -> None:
                at = rows.to(images.device)
                seeds = [seed * 2**32 + i for i in rows.tolist()]
                own = clean[at]
                x = attack.push(target, images[at], own, threat, seeds)  # type: ignore[arg-type]
                pushed[at] = target.logits(x)
                paired = partner[rows] >= 0
                if paired.any():
                    mine = rows[paired].to(images.device)
                    others = clean[partner[rows[paired]].to(images.device)]
                    chosen = [s for s, p in zip(seeds, paired.tolist(), strict=True) if p]
                    x = attack.pull(target, images[mine], others, threat, chosen)  # type: ignore[arg-type]
                    pulled[mine] = target.logits(x)
                advance(2 * len(rows), eps)

            in_batches(torch.arange(n), batch_size, work, say)
            moved = measure(pushed, clean)
            away = _distances(attack.distance, pushed, clean)
            others = ~torch.eye(n, dtype=torch.bool, device=away.device)
            nearest = away.argmin(1).cpu()
            a, b = left.to(images.device), right.to(images.device)
            kept = measure(clean[a], pulled[a])
            reached = measure(clean[a], pulled[b])
            remaining = torch.cat((measure(clean[b], pulled[a]), measure(clean[a], pulled[b])))
            results.append(
                FeatureRobustness(
                    eps=eps,
                    push_quantiles=_quantiles(pairs, moved),
                    pull_quantiles=_quantiles(pairs, remaining),
                    breakaway_risk=(away < moved[:, None])[others].float().mean().item(),
                    overlap_risk=(reached < kept).float().mean().item(),
                    retrieved=(nearest == torch.arange(n)).tolist(),
                    seconds=time.perf_counter() - start,
                )
            )
    return results


def _vectors(target: Target, images: Tensor, batch_size: int, say: Callable[[str], None]) -> Tensor:
    vectors = torch.empty(len(images), target.classes, device=images.device)

    def work(rows: Tensor) -> None:
        at = rows.to(images.device)
        vectors[at] = target.logits(images[at])

    in_batches(torch.arange(len(images)), batch_size, work, say)
    return vectors


def _distances(name: str, a: Tensor, b: Tensor) -> Tensor:
    """(N, D) and (M, D) to (N, M)."""
    if name == "cosine":
        return 1 - nn.functional.normalize(a, dim=1) @ nn.functional.normalize(b, dim=1).T
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _quantiles(pairs: Tensor, distances: Tensor) -> list[float]:
    """The part of the sorted (P,) distances that are at most each of `distances`."""
    counts = torch.searchsorted(pairs, distances.contiguous(), right=True)
    return (counts / len(pairs)).tolist()
