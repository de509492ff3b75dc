"""What ordinary edits did to an encoder's vectors: as text, as JSON, as a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from cfamc_zoo.errors import DataError
from cfamc_zoo.evaluation.attacks.feature import FeatureAttack
from cfamc_zoo.evaluation.edits.moved import ADVERSARY, Adversary, EditRobustness, evaluate_edits
from cfamc_zoo.evaluation.edits.table import EDITS, edited
from cfamc_zoo.evaluation.encoder_images import Images, encoder_of, pixels_of
from cfamc_zoo.evaluation.features import FeatureReader
from cfamc_zoo.evaluation.reported import Reported
from cfamc_zoo.evaluation.reports.edits_page import EditsPage, render_edits
from cfamc_zoo.evaluation.reports.facts import facts_of
from cfamc_zoo.evaluation.reports.page import Picture
from cfamc_zoo.evaluation.run import Advance, Run
from cfamc_zoo.evaluation.telling import Told, bar_of, own_draws
from cfamc_zoo.evaluation.victim.model import device_of
from cfamc_zoo.zoo.device import environment
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.threat import Threat

Table = tuple[tuple[str, ...], list[tuple[str, ...]], tuple[int, ...]]


@dataclass(frozen=True)
class EditTerms:
    """What is measured; all of it checked already.

    Attributes:
        kinds: of edits, in the table.
        attack: of the adversary beside them, and with its distance how vectors are compared.
        threats: of the adversary, of one norm; none where there is none.
        feature: which of the encoder's vectors.
        seed, batch_size: as `Run` has them.
    """

    kinds: list[str]
    attack: FeatureAttack
    threats: list[Threat]
    feature: str = "backbone"
    seed: int = 0
    batch_size: int | None = None

    @property
    def strengths(self) -> int:
        """How many results there are."""
        return sum(len(EDITS[kind].strengths) for kind in self.kinds) + len(self.threats)

    def to_json(self) -> dict[str, Any]:
        return {
            "feature": self.feature,
            "distance": self.attack.distance,
            "edits": self.kinds,
            **({"norm": self.threats[0].norm} if self.threats else {}),
            **({"eps": [t.text for t in self.threats]} if self.threats else {}),
            **({"steps": self.attack.steps} if self.threats else {}),
            "seed": self.seed,
        }


@dataclass(frozen=True, repr=False)
class EditsAssessment(Reported):
    """How far edits moved vectors. As text: one line an edit and strength, or a note.

    Attributes:
        results: one an edit and strength, or radius.
        notes: batches that had to be halved.
        terms: what was measured.
        facts: of what and with what: model, images, versions, device.
        pictures: an image under the strongest edit of each kind.
        size: pixels a side of what was edited.
        command: what measures the same again.
        card: where the model's card is; empty where that is not known.
    """

    results: list[EditRobustness]
    notes: list[str]
    terms: EditTerms
    facts: Mapping[str, Any]
    pictures: list[Picture] = field(default_factory=list)
    size: int = 0
    command: str = ""
    card: str = ""

    def __str__(self) -> str:
        lines = [f"{self.terms.feature} of {self.facts['model']}, no labels"]
        for r in self.results:
            value, low, high = r.retrieval
            lines.append(
                f"{r.kind}, {r.said}: moved {100 * r.length(0.5):.1f}% of a typical distance, "
                f"past {100 * r.part(0.5):.2f}% of pairs, found again {value:.2f}% "
                f"({low:.2f}..{high:.2f}), {len(r.nearest)} images"
            )
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def __repr__(self) -> str:
        worst = max(self.results, key=lambda r: r.length(0.5))
        return (
            f"<EditsAssessment: {self.facts['model']}, {len(self.results)} edits of "
            f"{len(worst.nearest)} images: {worst.kind}, {worst.said}, moves most>"
        )

    def to_json(self) -> dict[str, Any]:
        """As `cfamc-zoo edits --json` prints it: an object for `json.dumps`."""
        return {
            **self.facts,
            **self.terms.to_json(),
            "command": self.command,
            "notes": self.notes,
            "results": [r.to_json() for r in self.results],
        }

    def table(self) -> Table:
        """Headers, rows, and which columns are numbers."""
        headers = (
            "edit",
            "strength",
            "pixels",
            "moved %",
            "worst %",
            "quantile %",
            "top-1 %",
            "95%",
        )
        rows: list[tuple[str, ...]] = [
            (
                r.kind,
                r.said,
                f"{r.pixels:.1f}",
                f"{100 * r.length(0.5):.1f}",
                f"{100 * r.length(0.9):.1f}",
                f"{100 * r.part(0.5):.2f}",
                f"{r.retrieval[0]:.2f}",
                f"{r.retrieval[1]:.2f}..{r.retrieval[2]:.2f}",
            )
            for r in self.results
        ]
        return headers, rows, (2, 3, 4, 5, 6)

    def _html(self) -> str:
        page = EditsPage(
            title=f"How far ordinary edits move vectors of {self.facts['model']}",
            facts=facts_of({**self.facts, **self.terms.to_json()}, self.terms.attack),
            results=self.results,
            pictures=self.pictures,
            command=self.command,
            size=self.size,
            card=self.card,
        )
        return render_edits(page)


def measure_edits(
    encoder: Encoder,
    images: np.ndarray,
    terms: EditTerms,
    facts: Mapping[str, Any],
    advance: Advance,
    *,
    command: str,
    card: str = "",
) -> EditsAssessment:
    """Edits every image in every way, and compares the vectors.

    Args:
        encoder: on the device where it works; afterwards as it was.
        images: (N, S, S, 3) uint8, its input.
        terms: what is measured.
        facts: what the result says of the model and the images.
        advance: told of N images for each result.
        command, card: as the result has them.

    Raises:
        DataError, ModelError: as `evaluate_edits`.
    """
    if images.dtype != np.uint8:
        raise DataError(
            f"images are {images.dtype}; edits are made of 8 bits, as files have them: give "
            "(N, H, W, 3) uint8"
        )
    encoder.architecture.dimension(terms.feature)
    notes: list[str] = []
    run = Run(terms.seed, terms.batch_size, None, advance, notes.append)
    against = Adversary(terms.attack, terms.threats) if terms.threats else None
    reader = FeatureReader(encoder, terms.feature)
    distance = terms.attack.distance
    found = list(evaluate_edits(reader, images, terms.kinds, against, run, distance=distance))
    weight = next(encoder.parameters(), torch.empty(0))
    return EditsAssessment(
        found,
        notes,
        terms,
        {**facts, **environment(weight.device)},
        _pictures(images, found, terms.seed),
        images.shape[1],
        command,
        card,
    )


def edits_of(
    model: object, images: Images, terms: EditTerms, *, progress: bool | Told = False
) -> EditsAssessment:
    """As `measure_edits`, of what a person gave.

    Args:
        model: as `encoder_of` takes it.
        images: as `pixels_of` takes them, of 8 bits.
        terms: what is measured.
        progress: whether a person is shown it on stderr, or what is told of it instead.

    Raises:
        UsageError, DataError, ModelError: as `encoder_of`, `pixels_of` and `measure_edits`.
    """
    encoder = encoder_of(model)
    device = device_of(encoder, images)
    pixels = pixels_of(images, encoder.preprocess, "images")
    name = encoder.config.name if encoder.config else encoder.architecture.name
    said = [f"kinds={terms.kinds!r}", f"features={terms.feature!r}", f"seed={terms.seed}"]
    if terms.threats:
        said += [f"eps={[t.text for t in terms.threats]!r}", f"norm={terms.threats[0].norm!r}"]
    said += [f"{key}={value!r}" for key, value in asdict(terms.attack).items()]
    command = f"cfamc_zoo.edits(encoder, images, {', '.join(said)})"
    facts = {"model": name, "images": list(pixels.shape)}
    total = terms.strengths * len(pixels)
    with own_draws(device, terms.seed), bar_of(progress, f"edits, {name}", total) as bar:
        return measure_edits(encoder, pixels, terms, facts, bar.advance, command=command)


def _pictures(images: np.ndarray, results: list[EditRobustness], seed: int) -> list[Picture]:
    """Of the strongest edit of each kind the first image that is lost, else the first."""
    strongest = {r.kind: r for r in results if r.kind != ADVERSARY}
    pictures = []
    for kind, r in strongest.items():
        i = next((i for i, found in enumerate(r.retrieved) if not found), 0)
        after = edited(images[i : i + 1], kind, r.strength, [i], seed)[0]
        clean, perturbed = (
            x.astype(np.float32).transpose(2, 0, 1) / 255 for x in (images[i], after)
        )
        own, nearest = f"image {i}", f"image {r.nearest[i]}"
        pictures.append(Picture(clean, perturbed, own, own, nearest, f"{kind}: {r.said}"))
    return pictures
