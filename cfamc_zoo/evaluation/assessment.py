"""Robust accuracy of any classifier, with the reasons to doubt it."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field, is_dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from cfamc_zoo.evaluation.arguments import images_of, labels_of
from cfamc_zoo.evaluation.attacks.ensemble import Ensemble, members_of, substitutions
from cfamc_zoo.evaluation.attacks.protocol import Attack
from cfamc_zoo.evaluation.doubts import Doubt, doubts_of_model, doubts_of_results
from cfamc_zoo.evaluation.examples import Examples
from cfamc_zoo.evaluation.ledger import Ledger
from cfamc_zoo.evaluation.outputs import check_path, save
from cfamc_zoo.evaluation.plan import OfOneNorm
from cfamc_zoo.evaluation.reported import Reported
from cfamc_zoo.evaluation.reports.accuracy_page import Page, pictures_of, render
from cfamc_zoo.evaluation.reports.facts import facts_of
from cfamc_zoo.evaluation.reports.page import Picture
from cfamc_zoo.evaluation.robustness import Accuracy, evaluate
from cfamc_zoo.evaluation.run import Advance, Run
from cfamc_zoo.evaluation.telling import Told, bar_of, own_draws
from cfamc_zoo.evaluation.victim.batching import is_out_of_memory
from cfamc_zoo.evaluation.victim.logits import check_two
from cfamc_zoo.evaluation.victim.model import classifier_of, device_of, frozen, own_modes, width_of
from cfamc_zoo.zoo.device import environment
from cfamc_zoo.zoo.threat import Threat


@dataclass(frozen=True)
class Terms(OfOneNorm):
    """How a classifier is attacked; all of it checked already.

    Attributes:
        attack: what is run.
        threats: of one norm; at least one.
        seed, batch_size: as `Run` has them.
    """

    attack: Attack | Ensemble
    threats: list[Threat]
    seed: int = 0
    batch_size: int | None = None


@dataclass(frozen=True, repr=False)
class Assessment(Reported):
    """What an attack found. As text: one line an accuracy, a note or a doubt.

    Attributes:
        accuracies: clean, then robust at each radius; the worst case of an ensemble comes last.
        notes: what was run in place of losses that the model's classes do not define, and
            batches that had to be halved.
        doubts: reasons why the robust accuracy may be overstated.
        adversarial: (E, N, C, H, W) float32, one part a radius: what felled an image, else the
            last that was tried.
        labels: (N,) int64.
        terms: how the classifier was attacked.
        facts: what was attacked and with what: model, images, versions, device.
        pictures: a few images of the largest radius.
    """

    accuracies: list[Accuracy]
    notes: list[str]
    doubts: list[Doubt]
    adversarial: np.ndarray
    labels: np.ndarray
    terms: Terms
    facts: dict[str, Any]
    pictures: list[Picture] = field(default_factory=list)

    def __str__(self) -> str:
        lines = []
        for a in self.accuracies:
            low, high = a.interval
            attack = f", {a.attack} {a.eps}" if a.attack else ""
            lines.append(
                f"{a.metric}{attack}: {a.value:.2f}% ({low:.2f}..{high:.2f}), {a.n} images"
            )
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"doubt: {doubt.text}" for doubt in self.doubts]
        return "\n".join(lines)

    def __repr__(self) -> str:
        robust = ", ".join(f"{a.value:.2f}% at {a.eps}" for a in self._worst())
        count = len(self.doubts)
        doubts = f", {count} doubt{'s' if count > 1 else ''}" if count else ""
        return (
            f"<Assessment: {self.terms.attack.name}, {self.terms.norm}, {len(self.labels)} images: "
            f"{self.accuracies[0].value:.2f}% clean, {robust}{doubts}>"
        )

    def to_json(self) -> dict[str, Any]:
        """As `cfamc-zoo attack --json` prints it: an object for `json.dumps`."""
        terms, attack = self.terms, self.terms.attack
        single = is_dataclass(attack) and not isinstance(attack, Ensemble)
        return {
            "attack": attack.name,
            **(asdict(attack) if single else {}),  # type: ignore[arg-type]
            "settings": [repr(member) for member in members_of(terms.attack)],
            "norm": terms.norm,
            "eps": terms.epsilons,
            "seed": terms.seed,
            **self.facts,
            "notes": self.notes,
            "doubts": [asdict(doubt) for doubt in self.doubts],
            "completeness": "complete",
            "results": [accuracy.to_json() for accuracy in self.accuracies],
        }

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the adversarial images, as `cfamc-zoo attack --save` does.

        Args:
            path: ends in .npy, for (E, N, C, H, W) float32, or .parquet, for a row an image and
                radius; must not exist.

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
            parts={"eps": self.terms.epsilons},
            rows={"label": self.labels},
            stands=[worst.correct for worst in self._worst()],
        )

    def _html(self) -> str:
        return render(self._page())

    def _worst(self) -> list[Accuracy]:
        """One row a radius: of the attack, or of all members of an ensemble together."""
        return [a for a in self.accuracies if a.attack == self.terms.attack.name]

    def _page(self) -> Page:
        terms, facts = self.terms, self.to_json()
        for row in ("notes", "doubts", "completeness", "results"):
            del facts[row]
        return Page(
            title=f"{self.facts['model']} under {terms.attack.name}, {terms.norm}",
            facts=facts_of(facts, terms.attack),
            accuracies=self.accuracies,
            worst=terms.attack.name,
            threats=terms.threats,
            doubts=[doubt.text for doubt in self.doubts],
            pictures=self.pictures,
            command=f"cfamc_zoo.attack(model, images, labels, attack={terms.attack!r}, "
            f"eps={terms.epsilons!r}, norm={terms.norm!r}, seed={terms.seed})",
        )


def assess(
    model: object,
    images: object,
    labels: object,
    terms: Terms,
    *,
    progress: bool | Told = False,
) -> Assessment:
    """Attacks a classifier and looks for reasons to doubt what comes out.

    The model, the images, the labels and torch's random state are afterwards as they were.

    Args:
        model: a module from (N, C, H, W) in [0, 1] to logits.
        images: as `images_of` takes them.
        labels: as `labels_of` takes them.
        terms: how it is attacked.
        progress: whether a person is shown it on stderr, or what is told of it instead.

    Raises:
        DataError: images or labels that cannot be taken; says which can.
        ModelError: no classifier: it raises, or returns something else than finite logits.
    """
    network = classifier_of(model)
    device = device_of(network, images)
    with own_modes(device), own_draws(device, terms.seed):
        if any(weight.is_inference() for weight in network.parameters()):
            network = copy.deepcopy(network)  # those have no gradients; a copy has
        x = images_of(images, device)
        classes = width_of(network, x)
        check_two(classes)
        y = labels_of(labels, count=len(x), classes=classes, device=device)
        data = Examples(x, y, classes)
        parts = len(terms.threats) * len(members_of(terms.attack))
        with bar_of(progress, terms.attack.name, len(data) * parts) as bar:
            return _assessed(network, data, terms, bar.advance)


def _assessed(model: nn.Module, data: Examples, terms: Terms, advance: Advance) -> Assessment:
    clean = data.images.cpu().numpy()
    adversarial = clean[None].repeat(len(terms.threats), 0)
    notes = substitutions(terms.attack, data.classes)
    ledger = Ledger(len(data), adversarial=adversarial)
    run = Run(terms.seed, terms.batch_size, ledger, advance, notes.append)
    accuracies = evaluate(model, data, terms.attack, terms.threats, run)
    advance(0, "checks of the model")
    doubts = doubts_of_model(model, data, terms.threats[0], run)
    doubts += doubts_of_results(accuracies, terms.threats)
    facts = {
        "model": type(model).__name__,
        "images": list(data.images.shape),
        "classes": data.classes,
        **environment(data.device),
    }
    labels = data.labels.cpu().numpy()
    result = Assessment(accuracies, notes, doubts, adversarial, labels, terms, facts)
    result.pictures.extend(_pictures(model, clean, result))
    return result


def _pictures(model: nn.Module, clean: np.ndarray, result: Assessment) -> list[Picture]:
    """A few images of the largest radius; none where there is no room for so many at a time."""
    part = result.terms.largest
    try:
        with frozen(model):
            return pictures_of(
                model,
                clean,
                result.adversarial[part],
                result.labels,
                _names(model, result.facts["classes"]),
                result._worst()[part].correct,
            )
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return []


def _names(model: nn.Module, classes: int) -> tuple[str, ...]:
    """Of the classes, where the model has them; else their numbers."""
    names = getattr(model, "classes", None)
    if isinstance(names, list | tuple) and len(names) == classes:
        return tuple(map(str, names))
    return tuple(map(str, range(classes)))
