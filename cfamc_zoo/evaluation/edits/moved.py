"""How far ordinary edits move an encoder's vectors."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cfamc_zoo.evaluation.attacks.feature import DistanceName, FeatureAttack
from cfamc_zoo.evaluation.clean_vectors import CleanVectors, check_count
from cfamc_zoo.evaluation.edits.table import EDITS, edited
from cfamc_zoo.evaluation.retrieval import Retrieval
from cfamc_zoo.evaluation.run import PLAIN, Run
from cfamc_zoo.evaluation.victim.batching import in_batches
from cfamc_zoo.evaluation.victim.logits import logits_of
from cfamc_zoo.evaluation.victim.model import attacked, device_of, frozen, own_modes
from cfamc_zoo.zoo.threat import Threat

ADVERSARY = "adversary"  # the kind of a row that is no edit


@dataclass(frozen=True)
class Adversary:
    """Who pushes images away from their own vectors, beside those who only edit them."""

    attack: FeatureAttack
    threats: list[Threat]


@dataclass(frozen=True)
class EditRobustness(Retrieval):
    """What one edit, at one strength, did to the vectors of N images.

    Attributes:
        kind: in `EDITS`, or "adversary".
        strength: as the table has it; a radius, of an adversary.
        said: the strength in words.
        quantiles: (N,) of each image: the part of all pairs of unedited images that are at most as
            far apart as its vector was moved (the universal quantile). 0: it was moved less than
            any two images differ; 0.5: as far as a median pair.
        distances: (N,) that the vectors were moved.
        typical: the distance of a median pair of unedited images.
        pixels: how far the images were changed: root mean square over all, of 0..255.
        nearest: one an image: whose unedited vector is nearest to the edited one's.
        seconds: what it took.

    Source: of the quantile, Petrov and Kwiatkowska (arXiv 2210.04076), section 3. How far ordinary
    edits move vectors of other encoders: arXiv 2604.14973.
    """

    kind: str
    strength: float
    said: str
    quantiles: list[float]
    distances: list[float]
    typical: float
    pixels: float
    nearest: list[int]
    seconds: float

    def part(self, of: float) -> float:
        """The quantile that so many of the images stay under: 0.5 is the median image's."""
        return float(np.quantile(self.quantiles, of))

    def length(self, of: float) -> float:
        """The distance that so many of the images stay under, as a part of a median pair's."""
        return float(np.quantile(self.distances, of)) / self.typical

    def to_json(self) -> dict[str, Any]:
        """For `json.dumps`."""
        value, low, high = self.retrieval
        return {
            "edit": self.kind,
            "strength": self.strength,
            "meaning": self.said,
            "n": len(self.nearest),
            "median_universal_quantile": self.part(0.5),
            "worst_tenth_universal_quantile": self.part(0.9),
            "median_relative_distance": self.length(0.5),
            "worst_tenth_relative_distance": self.length(0.9),
            "median_distance": float(np.median(self.distances)),
            "pixels_rms": round(self.pixels, 4),
            "retrieval_top1": value,
            "low": low,
            "high": high,
            "seconds": round(self.seconds, 3),
        }


def evaluate_edits(
    reader: nn.Module,
    images: np.ndarray,
    kinds: Sequence[str],
    against: Adversary | None = None,
    run: Run = PLAIN,
    *,
    distance: DistanceName = "l2",
) -> Iterator[EditRobustness]:
    """Edits every image at each strength; one result as soon as that is done.

    Args:
        reader: (N, 3, S, S) float32 in [0, 1] to (N, D).
        images: (N, S, S, 3) uint8, the size of its input; at least three.
        kinds: in `EDITS`.
        against: an adversary beside them, whose rows come last; None is none.
        distance: of two vectors.
        run: of its ledger nothing is asked. Its `advance` is told of N images for each
            result.

    Raises:
        DataError: fewer than three images, or one vector for all.
        ModelError: the encoder raises, or returns something else than finite vectors.
    """
    check_count(len(images))
    device = device_of(reader, None)
    with frozen(reader), own_modes(device), torch.no_grad():
        task = _Edits(reader, images, run, device)
        clean = CleanVectors(task.vectors(lambda pixels, rows: pixels, ""), distance)
        for kind in kinds:
            for strength in EDITS[kind].strengths:
                yield task.moved(clean, kind, strength)
    if against is not None:
        yield from _pushed(task, clean, against)


class _Edits:
    """The same images, edited one way after the other."""

    def __init__(self, reader: nn.Module, images: np.ndarray, run: Run, device: torch.device):
        self.reader, self.images, self.run, self.device = reader, images, run, device
        self.changed = 0.0  # sum of squares, of 0..255
        size = images.shape[1]
        self.batch = run.batch_of(torch.empty(0, 3, size, size, device="meta"))

    def vectors(self, change: Any, status: str) -> Tensor:
        """(N, D) float32 of all images, after `change` of (k, S, S, 3) pixels and (k,) rows."""
        found: list[Tensor] = []
        self.changed = 0.0

        def work(rows: Tensor, room: int) -> None:
            pixels = self.images[rows.numpy()]
            after = change(pixels, rows.tolist())
            x = torch.from_numpy(after).to(self.device).permute(0, 3, 1, 2).float() / 255
            vectors = logits_of(self.reader, x.contiguous()).float()
            changed = float(((after.astype(np.float32) - pixels) ** 2).sum())
            found.append(vectors)  # when nothing can run out of memory any more
            self.changed += changed
            if status:
                self.run.advance(len(rows), status)

        in_batches(torch.arange(len(self.images), device="cpu"), self.batch, work, self.run.say)
        return torch.cat(found)

    def moved(self, clean: CleanVectors, kind: str, strength: float) -> EditRobustness:
        start, said = time.perf_counter(), EDITS[kind].describe(strength)
        vectors = self.vectors(
            lambda pixels, rows: edited(pixels, kind, strength, rows, self.run.seed),
            f"{kind}, {said}",
        )
        return self.compared(clean, vectors, (kind, strength, said), start)

    def compared(
        self, clean: CleanVectors, vectors: Tensor, what: tuple[str, float, str], start: float
    ) -> EditRobustness:
        """The measures of (N, D) vectors after a change, of which `changed` has the squares."""
        rows = torch.arange(len(vectors), device=vectors.device)
        away, own = clean.to_all_and_own(vectors, rows)
        return EditRobustness(
            *what,
            clean.quantiles(own),
            own.tolist(),
            clean.typical[1],
            (self.changed / self.images.size) ** 0.5,
            away.argmin(1).tolist(),
            time.perf_counter() - start,
        )


def _pushed(task: _Edits, clean: CleanVectors, against: Adversary) -> Iterator[EditRobustness]:
    """One result a radius of the adversary."""
    n, width = clean.vectors.shape
    nobody = torch.zeros(n, dtype=torch.long, device=task.device)
    some = torch.from_numpy(task.images[:8]).to(task.device).permute(0, 3, 1, 2).float() / 255
    with attacked(task.reader, some.contiguous(), nobody, width) as victim:
        for threat in against.threats:
            start = time.perf_counter()
            found: list[Tensor] = []
            task.changed = 0.0

            def work(
                rows: Tensor, room: int, threat: Threat = threat, found: list[Tensor] = found
            ) -> None:
                x = torch.from_numpy(task.images[rows.numpy()]).to(task.device)
                x = (x.permute(0, 3, 1, 2).float() / 255).contiguous()
                own, seeds = clean.vectors[rows.to(task.device)], task.run.seeds(rows)
                pushed = against.attack.push(victim, x, own, threat, seeds)
                vectors = victim.logits(pushed)
                changed = float(((pushed - x) * 255).square().sum())
                found.append(vectors)
                task.changed += changed
                task.run.advance(len(rows), f"{ADVERSARY}, {threat.text}")

            in_batches(torch.arange(n, device="cpu"), task.batch, work, task.run.say)
            said = f"{threat.norm}, {threat.text}"
            yield task.compared(clean, torch.cat(found), (ADVERSARY, threat.eps, said), start)
