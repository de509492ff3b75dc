"""How far an attacker moves an encoder's vectors, measured without any labels."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from cfamc_zoo.evaluation.arguments import images_of
from cfamc_zoo.evaluation.attacks.feature import DISTANCES, FeatureAttack
from cfamc_zoo.evaluation.clean_vectors import CleanVectors, check_count
from cfamc_zoo.evaluation.ledger import UNKNOWN, Ledger, Stage
from cfamc_zoo.evaluation.retrieval import Retrieval
from cfamc_zoo.evaluation.run import PLAIN, Run
from cfamc_zoo.evaluation.victim.batching import gathered, in_batches
from cfamc_zoo.evaluation.victim.model import Victim, attacked, device_of, width_of
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.multicrop import MultiCrop
from cfamc_zoo.zoo.threat import Threat


class FeatureReader(nn.Module):
    """One feature of an encoder as a module from images to vectors."""

    def __init__(self, encoder: Encoder | MultiCrop, feature: str):
        super().__init__()
        self.encoder, self.feature = encoder, feature

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images, self.feature)


@dataclass(frozen=True)
class FeatureRobustness(Retrieval):
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
        push_distances: (N,) of each x^: d(f(x^), f(x)).
        pull_distances: of each x>x': d(f(x>x'), f(x')).
        typical: distances that a tenth, half and nine tenths of all pairs of clean images are at
            most apart.
        breakaway_risk: the part of all (x, x') with d(f(x^), f(x')) < d(f(x^), f(x)): how often
            a random other image is nearer to the attacked one than its own clean self.
        overlap_risk: the part of the pairs with d(f(x), f(x'>x)) < d(f(x), f(x>x')): x' pulled
            onto x comes nearer to x than x itself stays when it is pulled onto x'.
        nearest: one an image: whose clean vector is nearest to f(x^).
        seconds: what it took, over all sessions.

    Source: Petrov and Kwiatkowska (arXiv 2210.04076), section 3; risks as in their public code.
    """

    eps: str
    push_quantiles: list[float]
    pull_quantiles: list[float]
    push_distances: list[float]
    pull_distances: list[float]
    typical: tuple[float, float, float]
    breakaway_risk: float
    overlap_risk: float
    nearest: list[int]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The measures, for `json.dumps`; medians of what there is one of an image."""
        value, low, high = self.retrieval
        return {
            "eps": self.eps,
            "n": len(self.retrieved),
            "push_median_universal_quantile": median(self.push_quantiles),
            "pull_median_universal_quantile": median(self.pull_quantiles),
            "push_median_distance": median(self.push_distances),
            "pull_median_distance": median(self.pull_distances),
            "pair_distance_quantiles": dict(zip(("10%", "50%", "90%"), self.typical, strict=True)),
            "breakaway_risk": self.breakaway_risk,
            "overlap_risk": self.overlap_risk,
            "retrieval_top1": value,
            "low": low,
            "high": high,
            "seconds": round(self.seconds, 3),
        }


def partners(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """The random pairs of n images: (n // 2,) and (n // 2,) int64; with n odd, one has none."""
    order = torch.randperm(n, generator=torch.Generator("cpu").manual_seed(seed), device="cpu")
    return order[: n // 2], order[n // 2 : 2 * (n // 2)]


def evaluate_features(
    reader: nn.Module,
    images: Tensor,
    attack: FeatureAttack,
    threats: Sequence[Threat],
    run: Run = PLAIN,
) -> Iterator[FeatureRobustness]:
    """Pushes and pulls every image at each radius; one result as soon as a radius is done.

    Args:
        reader: (N, C, H, W) in [0, 1] to (N, D).
        images: (N, C, H, W) in [0, 1], as `images_of` takes them; at least three.
        threats: norm and radius of the perturbation, each of another radius.
        run: its ledger takes down the stages "push" and "pull" of each radius, and of each the
            images, so 2 E parts. A pushed image stands when its nearest clean vector is its own,
            a pulled one when it is nearer to its own than to its partner's. Its `advance` is
            told of 2 N attacks for each radius.

    Raises:
        DataError: fewer than three images, images outside [0, 1], or one vector for all.
        ModelError: the encoder raises or returns NaN.
    """
    images = images_of(images, device_of(reader, images))
    n, size = len(images), run.batch_of(images)
    check_count(n)
    ledger = run.ledger_of(n)
    width = width_of(reader, images)
    no_labels = torch.zeros(n, dtype=torch.long, device=images.device)
    try:
        with attacked(reader, images, no_labels, width) as victim:
            vectors = gathered(
                n, size, lambda rows: victim.logits(images[rows.to(images.device)]), run.say
            )
            clean = CleanVectors(vectors, attack.distance)
            shared = _Shared(victim, images, clean, attack, run, ledger)
            for part, threat in enumerate(threats):
                task = _FeatureTask(shared, threat, part)

                def work(rows: Tensor, _: int, task: _FeatureTask = task) -> None:
                    task.batch(rows)
                    run.advance(2 * len(rows), task.threat.text)

                in_batches(torch.arange(n, device="cpu"), size, work, run.say)
                yield task.result()
    finally:
        ledger.flush()


@dataclass(frozen=True)
class _Shared:
    """What is the same at every radius.

    Attributes:
        images: (N, C, H, W) as `images_of` returns them.
        clean: their vectors.
    """

    victim: Victim
    images: Tensor
    clean: CleanVectors
    attack: FeatureAttack
    run: Run
    ledger: Ledger


class _FeatureTask:
    """Both attacks at one radius, batch by batch.

    Args:
        part: which of the radii it is.
    """

    def __init__(self, shared: _Shared, threat: Threat, part: int):
        images, clean = shared.images, shared.clean.vectors
        self.victim, self.images, self.clean = shared.victim, images, clean
        self.compared = shared.clean
        self.attack, self.run, self.ledger = shared.attack, shared.run, shared.ledger
        self.threat, self.part = threat, part
        self.push = self.ledger.stage("push", threat.text)
        self.pull = self.ledger.stage("pull", threat.text)
        self.left, self.right = partners(len(images), self.run.seed)
        self.partner = torch.full((len(images),), -1, device="cpu")
        self.partner[self.left], self.partner[self.right] = self.right, self.left
        self.pushed, self.pulled = torch.empty_like(clean), torch.empty_like(clean)
        self.nearest = torch.empty(len(images), dtype=torch.long, device="cpu")
        # Of each x the number of x' with f(x^) nearer to f(x') than to f(x).
        self.nearer = torch.zeros(len(images), dtype=torch.long, device="cpu")

    def batch(self, rows: Tensor) -> None:
        """Attacks (k,) images, or reads what a state has of them.

        Memory may run out anywhere in it, and it is then called again: what it leaves is the same
        however often it has begun.
        """
        measure, device = DISTANCES[self.attack.distance], self.images.device
        known = bool((self.pull.verdicts[rows.numpy()] != UNKNOWN).all())
        at = rows.to(device)

        start = time.perf_counter()
        own = self.clean[at]
        pushed = self._found(0, rows) if known else self._pushed(rows, own)
        vectors = self.pushed[at] = self.victim.logits(pushed)
        away, moved = self.compared.to_all_and_own(vectors, at)
        self.nearer[rows] = (away < moved[:, None]).sum(1).cpu()
        nearest = self.nearest[rows] = away.argmin(1).cpu()

        between = time.perf_counter()
        stands = torch.ones(len(rows), dtype=torch.bool, device="cpu")
        pulled = self.images[at] if not known else self._found(1, rows)
        paired = self.partner[rows] >= 0
        if paired.any():
            some = rows[paired]
            others = self.clean[self.partner[some].to(device)]
            x = pulled[paired.to(device)]
            if not known:
                seeds = self.run.seeds(some)
                x = self.attack.pull(self.victim, x, others, self.threat, seeds)
                pulled[paired.to(device)] = x
            vectors = self.pulled[some.to(device)] = self.victim.logits(x)
            stands[paired] = (
                measure(vectors, self.clean[some.to(device)]) < measure(vectors, others)
            ).cpu()
        if not known:
            self._record(self.push, 0, rows, pushed, nearest == rows, between - start)
            self._record(self.pull, 1, rows, pulled, stands, time.perf_counter() - between)

    def _pushed(self, rows: Tensor, own: Tensor) -> Tensor:
        x = self.images[rows.to(self.images.device)]
        return self.attack.push(self.victim, x, own, self.threat, self.run.seeds(rows))

    def _found(self, which: int, rows: Tensor) -> Tensor:
        assert self.ledger.adversarial is not None, "only a state on disk knows what it begins with"
        kept = self.ledger.adversarial[2 * self.part + which][rows.numpy()]
        return torch.from_numpy(kept).to(self.images)

    def _record(
        self, stage: Stage, which: int, rows: Tensor, x: Tensor, stands: Tensor, seconds: float
    ) -> None:
        if self.ledger.adversarial is not None:
            self.ledger.adversarial[2 * self.part + which][rows.numpy()] = x.cpu().numpy()
        self.ledger.record(stage, rows.numpy(), stands.numpy(), tried=len(rows), seconds=seconds)

    def result(self) -> FeatureRobustness:
        """All measures, once every image is through."""
        measure, clean, n = DISTANCES[self.attack.distance], self.clean, len(self.clean)
        a, b = self.left.to(clean.device), self.right.to(clean.device)
        kept = measure(clean[a], self.pulled[a])
        reached = measure(clean[a], self.pulled[b])
        remaining = torch.cat((measure(clean[b], self.pulled[a]), reached))
        moved = measure(self.pushed, clean)
        return FeatureRobustness(
            eps=self.threat.text,
            push_quantiles=self.compared.quantiles(moved),
            pull_quantiles=self.compared.quantiles(remaining),
            push_distances=moved.tolist(),
            pull_distances=remaining.tolist(),
            typical=self.compared.typical,
            breakaway_risk=int(self.nearer.sum()) / (n * (n - 1)),
            overlap_risk=(reached < kept).float().mean().item(),
            nearest=self.nearest.tolist(),
            seconds=self.push.seconds + self.pull.seconds,
        )
