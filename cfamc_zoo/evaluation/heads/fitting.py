"""A linear head for a release or an encoder: fitted, tested beside plain neighbours, kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cfamc_zoo.atomic import atomic_file
from cfamc_zoo.datasets import LabelledImages
from cfamc_zoo.errors import UnknownNameError, UsageError
from cfamc_zoo.evaluation.attacks.pgd import Pgd
from cfamc_zoo.evaluation.examples import Examples
from cfamc_zoo.evaluation.heads.classifiers import reader_of
from cfamc_zoo.evaluation.heads.linear import Probe, extract, fit_probe, network_input
from cfamc_zoo.evaluation.heads.neighbours import NEIGHBOURS, nearest_votes
from cfamc_zoo.evaluation.heads.published import EPOCHS, fit_published_head
from cfamc_zoo.evaluation.intervals import wilson
from cfamc_zoo.evaluation.robustness import evaluate
from cfamc_zoo.evaluation.run import Run
from cfamc_zoo.evaluation.subject import Material, fitting_images
from cfamc_zoo.progress import Progress, Say, silent
from cfamc_zoo.zoo.network.classifier import Classifier
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.multicrop import MultiCrop
from cfamc_zoo.zoo.network.spec import FEATURES
from cfamc_zoo.zoo.release.folder import PROBE, Release
from cfamc_zoo.zoo.release.loading import load_probe, probe_bytes
from cfamc_zoo.zoo.threat import Threat, threat_of

SELECTIONS = ("clean", "robust")
ATTACKED = 1000  # held-out training images that are attacked to select a robust head
BATCH = 64  # images at a time, of that attack
NORM, EPS = "linf", "8/255"  # of that attack, where the encoder was trained against none
# The training accuracy is that far over the test accuracy, in percent: a head fits its images.
OVERFITTED = 20


@dataclass(frozen=True)
class ProbeSettings:
    """How a head is fitted.

    Attributes:
        feature: what it reads; "" is what the release's own head reads, else the
            architecture's `probed_feature`.
        head: "linear", or "published": the schedule of the paper's script.
        select: what held-out training images choose a linear head by: "clean" or "robust".
        seed: of all draws.

    Raises:
        UnknownNameError, UsageError: an unknown name, or a selection where nothing is chosen.
    """

    feature: str = ""
    head: str = "linear"
    select: str = "clean"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.feature and self.feature not in FEATURES:
            raise UnknownNameError("feature", self.feature, FEATURES)
        if self.head not in HEADS:
            raise UnknownNameError("head", self.head, HEADS)
        if self.select not in SELECTIONS:
            raise UnknownNameError("selection", self.select, SELECTIONS)
        if self.head == "published" and self.select != "clean":
            raise UsageError(
                "a robust selection is for the linear head; the published schedule chooses "
                "nothing: leave --select away"
            )


@dataclass(frozen=True)
class FittedProbe:
    """A head and what it reaches, in percent.

    Attributes:
        classifier: the encoder with the head, images in [0, 1] to logits.
        settings: how it was fitted.
        material: what it was fitted to and tested on.
        train_accuracy: on the images that it was fitted to.
        test_accuracy: on the test images.
        interval: 95% Wilson interval of the test accuracy.
        knn_accuracy: of plain k-NN on the same features and test images.
        k: the neighbours that vote.
        chosen: how the linear head's weight decay was chosen; None for the published head.
    """

    classifier: Classifier
    settings: ProbeSettings
    material: Material = field(repr=False)
    train_accuracy: float
    test_accuracy: float
    interval: tuple[float, float]
    knn_accuracy: float
    k: int
    chosen: Probe | None = field(repr=False)

    @property
    def head(self) -> nn.Module:
        """Features to logits."""
        return self.classifier.head

    @property
    def notes(self) -> list[str]:
        """What to know before the numbers are believed."""
        if self.train_accuracy - self.test_accuracy < OVERFITTED:
            return []
        images = len(self.material.train)
        width = self.classifier.encoder.architecture.dimension(self.settings.feature)
        return [
            f"the head has learnt its {images:,} training images by heart "
            f"({self.train_accuracy:.1f}%, and {self.test_accuracy:.1f}% on others): for "
            f"{width:,} values an image they are few; take more images or a feature of fewer values"
        ]

    def save(self, path: str | Path) -> None:
        """Writes the head as a safetensors file, which `attack --probe` and `export` take.

        Raises:
            StorageError: it cannot be written.
        """
        with atomic_file(Path(path)) as temporary:
            temporary.write_bytes(probe_bytes(self.classifier))

    def to_json(self) -> dict[str, Any]:
        reader = self.classifier.encoder
        chosen: dict[str, object] = {}
        if self.chosen is not None:
            chosen = {
                "select": self.settings.select,
                "decay": self.chosen.decay,
                "held_out_accuracy": {str(k): v for k, v in self.chosen.held_out.items()},
                "held_out_robust_accuracy": {
                    str(k): v for k, v in self.chosen.held_out_robust.items()
                },
            }
        return {
            "data": self.material.train.name,
            "feature": self.settings.feature,
            "head": self.settings.head,
            "crops": reader.plan.to_json() if isinstance(reader, MultiCrop) else None,
            "train_images": len(self.material.train),
            "train_rows": self.material.train.rows,
            **chosen,
            "train_accuracy": self.train_accuracy,
            "test_accuracy": self.test_accuracy,
            "low": self.interval[0],
            "high": self.interval[1],
            "n": len(self.material.test),
            "test_rows": self.material.test.rows,
            "knn_accuracy": self.knn_accuracy,
            "knn_k": self.k,
            "notes": self.notes,
            "seed": self.settings.seed,
        }

    def __str__(self) -> str:
        low, high = self.interval
        lines = [
            f"linear head: {self.test_accuracy:.2f}% ({low:.2f}..{high:.2f}) of "
            f"{len(self.material.test):,} test images, {self.train_accuracy:.2f}% of "
            f"{len(self.material.train):,} training images",
            f"{self.k} nearest neighbours: {self.knn_accuracy:.2f}%",
        ]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def default_feature(release: Release) -> str:
    """What the release's own head reads; where it has none, what suits its network."""
    if release.has(PROBE):
        return load_probe(release).feature
    return release.config.architecture.probed_feature


def fit_release(
    release: Release,
    data: str | None,
    settings: ProbeSettings,
    *,
    device: torch.device,
    crops: int | None = None,
    limit: int | None = None,
    say: Say = lambda text: None,
    progress: Progress = silent,
) -> FittedProbe:
    """Fits a head to a release's features of a named set or a folder.

    Args:
        release: the model.
        data, limit: as `fitting_images` takes them.
        settings: of the head.
        device: where.
        crops: features are means over so many crops of the kind that the model was trained on.
        say: told what was left out and what the numbers are of.
        progress: opens a bar of a description and a total.

    Raises:
        UnknownNameError, UsageError, DataError: as `fitting_images`.
    """
    material = fitting_images(release, data, limit=limit, seed=settings.seed, say=say)
    if not settings.feature:
        settings = replace(settings, feature=default_feature(release))
    reader = reader_of(release, crops, settings.seed).to(device)
    against = release.config.threat_model
    probe = fit(reader, material, settings, against=against, device=device, progress=progress)
    for note in probe.notes:
        say(f"note: {note}")
    return probe


def fit(
    reader: Encoder | MultiCrop,
    material: Material,
    settings: ProbeSettings,
    *,
    against: Mapping[str, Any],
    device: torch.device,
    progress: Progress = silent,
) -> FittedProbe:
    """Fits a head and tests it.

    Args:
        reader: frozen, in evaluation mode, on `device`.
        material: labelled images; `network_input` says of what kinds they may be.
        settings: of the head; they name a feature.
        against: norm and eps that the encoder was trained to withstand, as its release has
            them, under which a robust head is selected; {} is L-infinity and 8/255.
        device: where.
        progress: opens a bar of a description and a total.
    """
    train, test, feature = material.train, material.test, settings.feature
    with progress(f"{feature} of {train.name}", len(train) + len(test)) as bar:
        x, test_x = (
            extract(reader, part.images, feature, device=device, advance=bar.advance)
            for part in (train, test)
        )
    y = torch.from_numpy(train.labels).to(device)
    test_y = torch.from_numpy(test.labels).to(device)
    head, chosen = HEADS[settings.head](_Fit(reader, train, x, y, settings, against, progress))
    with progress("neighbours", None):
        voted = nearest_votes(x, y, test_x, len(train.classes))
    correct = int((head(test_x).argmax(1) == test_y).sum())
    low, high = wilson(correct, len(test))
    return FittedProbe(
        Classifier(
            reader,
            head,
            feature=feature,
            classes=train.classes,
            data=train.name,
            split=material.split,
        ).eval(),
        settings,
        material,
        train_accuracy=100 * (head(x).argmax(1) == y).float().mean().item(),
        test_accuracy=100 * correct / len(test),
        interval=(100 * low, 100 * high),
        knn_accuracy=100 * (voted == test_y).float().mean().item(),
        k=min(NEIGHBOURS, len(train)),
        chosen=chosen,
    )


@dataclass(frozen=True)
class _Fit:
    """What a head is fitted to, and how.

    Attributes:
        reader, settings, against, progress: as `fit` has them.
        train: labelled images.
        x: (N, D) their features.
        y: (N,) their labels.
    """

    reader: Encoder | MultiCrop
    train: LabelledImages
    x: Tensor
    y: Tensor
    settings: ProbeSettings
    against: Mapping[str, Any]
    progress: Progress


def _linear(fit: _Fit) -> tuple[nn.Linear, Probe | None]:
    """Logistic regression with a chosen weight decay."""
    train, settings = fit.train, fit.settings
    robust = None
    if settings.select == "robust":
        threat = threat_of(fit.against.get("norm", NORM), fit.against.get("eps", EPS))
        robust = _robust(fit.reader, settings.feature, train, threat)
    with fit.progress("fitting", None):
        chosen = fit_probe(fit.x, fit.y, len(train.classes), seed=settings.seed, robust=robust)
    return chosen.head, chosen


def _published(fit: _Fit) -> tuple[nn.Linear, Probe | None]:
    """The paper's schedule, which has its own radius and chooses nothing."""
    train, settings = fit.train, fit.settings
    with fit.progress("fitting", len(train) * len(EPOCHS)) as bar:
        head = fit_published_head(
            fit.reader,
            settings.feature,
            train.images,
            fit.x,
            fit.y,
            len(train.classes),
            seed=settings.seed,
            advance=bar.advance,
        )
    return head, None


HEADS = {"linear": _linear, "published": _published}


def _robust(
    reader: Encoder | MultiCrop, feature: str, train: LabelledImages, threat: Threat
) -> Callable[[nn.Linear, Tensor], float]:
    """Accuracy of a head under PGD-10."""

    def measure(head: nn.Linear, rows: Tensor) -> float:
        chosen = rows[:ATTACKED].cpu().numpy()
        device = head.weight.device
        data = Examples(
            network_input(train.images[chosen], device),
            torch.from_numpy(train.labels[chosen]).to(device),
            len(train.classes),
        )
        model = Classifier(reader, head, feature=feature, classes=train.classes, data=train.name)
        run = Run(batch_size=BATCH)
        _, robust = evaluate(model, data, Pgd(steps=10), [threat], run)
        return robust.value

    return measure
