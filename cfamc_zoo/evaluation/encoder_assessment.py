"""How far an attacker moves any encoder's vectors, out of a program: what it found, and a page."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from cfamc_zoo.evaluation.attacks.feature import FeatureAttack
from cfamc_zoo.evaluation.encoder_images import Images, encoder_of, pixels_of
from cfamc_zoo.evaluation.feature_outputs import saved_parts
from cfamc_zoo.evaluation.features import FeatureReader, FeatureRobustness, evaluate_features
from cfamc_zoo.evaluation.heads.linear import network_input
from cfamc_zoo.evaluation.ledger import Ledger
from cfamc_zoo.evaluation.outputs import check_path, save
from cfamc_zoo.evaluation.plan import OfOneNorm
from cfamc_zoo.evaluation.reported import Reported
from cfamc_zoo.evaluation.reports.facts import facts_of
from cfamc_zoo.evaluation.reports.page import Picture
from cfamc_zoo.evaluation.reports.vector_page import VectorPage, pushed_pictures, render_vectors
from cfamc_zoo.evaluation.run import Run
from cfamc_zoo.evaluation.telling import Told, bar_of, own_draws
from cfamc_zoo.evaluation.victim.model import device_of, own_modes
from cfamc_zoo.zoo.device import environment
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.threat import Threat


@dataclass(frozen=True)
class EncoderTerms(OfOneNorm):
    """How an encoder is attacked; all of it checked already.

    Attributes:
        attack: what is run.
        threats: of one norm; at least one.
        feature: which of the encoder's vectors.
        seed, batch_size: as `Run` has them.
    """

    attack: FeatureAttack
    threats: list[Threat]
    feature: str = "backbone"
    seed: int = 0
    batch_size: int | None = None


@dataclass(frozen=True, repr=False)
class EncoderAssessment(Reported):
    """What label-free attacks did to vectors. As text: one line a radius, or a note.

    Attributes:
        results: one a radius.
        notes: batches that had to be halved.
        ledger: verdicts and adversarial images.
        terms: how the encoder was attacked.
        facts: what was attacked and with what: model, images, versions, device.
        pictures: a few pushed images of the largest radius.
    """

    results: list[FeatureRobustness]
    notes: list[str]
    ledger: Ledger
    terms: EncoderTerms
    facts: Mapping[str, Any]
    pictures: list[Picture] = field(default_factory=list)

    @property
    def adversarial(self) -> np.ndarray:
        """(2 E, N, 3, S, S) float32; of each radius the pushed images, then the pulled."""
        assert self.ledger.adversarial is not None
        return self.ledger.adversarial

    def __str__(self) -> str:
        lines = [f"{self.facts['feature']} of {self.facts['model']}, {self.terms.norm}, no labels"]
        for r in self.results:
            value, low, high = r.retrieval
            lines.append(
                f"eps {r.eps}: pushed as far as {100 * median(r.push_quantiles):.1f}% of pairs are "
                f"apart, pulled as near as {100 * median(r.pull_quantiles):.1f}%, breakaway risk "
                f"{100 * r.breakaway_risk:.3g}%, overlap risk {100 * r.overlap_risk:.3g}%, found "
                f"again {value:.2f}% ({low:.2f}..{high:.2f}), {len(r.retrieved)} images"
            )
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def __repr__(self) -> str:
        moved = ", ".join(f"{100 * median(r.push_quantiles):.1f}% at {r.eps}" for r in self.results)
        return (
            f"<EncoderAssessment: {self.facts['model']}, {self.terms.norm}, "
            f"{self.adversarial.shape[1]} images: pushed past {moved} of pairs>"
        )

    def to_json(self) -> dict[str, Any]:
        """As `cfamc-zoo attack --attack feature --json` names it: an object for `json.dumps`."""
        return {
            **self._settings(),
            "notes": self.notes,
            "completeness": "complete",
            "results": [r.to_json() for r in self.results],
        }

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the adversarial images, as `cfamc-zoo attack --save` does.

        Args:
            path: ends in .npy, for (2 E, N, 3, S, S) float32, or .parquet, for a row an image and
                attack; must not exist.

        Raises:
            UsageError: another suffix, or no such folder.
            OutputExistsError: it exists.
            StorageError: it cannot be written.
        """
        path = Path(path)
        check_path(path)
        save(
            path,
            self.adversarial,
            **saved_parts(self.terms.epsilons, self.terms.seed, self.ledger, {}),
        )

    def _html(self) -> str:
        terms, facts = self.terms, self.facts
        page = VectorPage(
            title=f"How far vectors of {facts['model']} move: {facts['feature']} under "
            f"{terms.attack.steps} steps of label-free PGD, {terms.norm}",
            facts=facts_of(self._settings(), terms.attack),
            results=self.results,
            threats=terms.threats,
            pictures=self.pictures,
            command=f"cfamc_zoo.attack_encoder(encoder, images, eps={terms.epsilons!r}, "
            f"norm={terms.norm!r}, features={terms.feature!r}, seed={terms.seed}, "
            + ", ".join(f"{k}={v!r}" for k, v in asdict(terms.attack).items())
            + ")",
        )
        return render_vectors(page)

    def _settings(self) -> dict[str, Any]:
        terms = self.terms
        return {
            "attack": "feature",
            **asdict(terms.attack),
            "norm": terms.norm,
            "eps": terms.epsilons,
            "seed": terms.seed,
            **self.facts,
        }


def assess_encoder(
    model: object, images: Images, terms: EncoderTerms, *, progress: bool | Told = False
) -> EncoderAssessment:
    """Pushes and pulls the vectors of an encoder at each radius.

    The encoder, the images and torch's random state are afterwards as they were.

    Args:
        model: as `encoder_of` takes it.
        images: as `pixels_of` takes them; at least three.
        terms: how it is attacked.
        progress: whether a person is shown it on stderr, or what is told of it instead.

    Raises:
        UsageError: no encoder, or a feature that it has not.
        DataError: images that cannot be taken, or whose vectors are all one.
        ModelError: the encoder raises, or returns something else than finite vectors.
    """
    encoder = encoder_of(model)
    encoder.architecture.dimension(terms.feature)
    device = device_of(encoder, images)
    with own_modes(device), own_draws(device, terms.seed):
        if any(weight.is_inference() for weight in encoder.parameters()):
            encoder = copy.deepcopy(encoder)  # those have no gradients; a copy has
        pixels = pixels_of(images, encoder.preprocess, "images")
        x = network_input(pixels, device).contiguous()
        encoder.check_size(x)
        clean = x.cpu().numpy()
        parts = 2 * len(terms.threats)
        ledger = Ledger(len(x), adversarial=clean[None].repeat(parts, 0))
        notes: list[str] = []
        reader = FeatureReader(encoder, terms.feature)
        with bar_of(progress, f"{terms.feature} of {_name(encoder)}", parts * len(x)) as bar:
            run = Run(terms.seed, terms.batch_size, ledger, bar.advance, notes.append)
            results = list(evaluate_features(reader, x, terms.attack, terms.threats, run))
    facts = {
        "model": _name(encoder),
        "feature": terms.feature,
        "images": list(x.shape),
        **environment(device),
    }
    found = EncoderAssessment(results, notes, ledger, terms, facts)
    part = terms.largest
    found.pictures.extend(pushed_pictures(clean, found.adversarial[2 * part], results[part]))
    return found


def _name(encoder: Encoder) -> str:
    """Of its release, or of its network."""
    return encoder.config.name if encoder.config else encoder.architecture.name
