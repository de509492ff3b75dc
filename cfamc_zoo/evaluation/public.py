"""Measuring from Python. Nothing heavy is imported before a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

    from cfamc_zoo.evaluation.assessment import Assessment
    from cfamc_zoo.evaluation.attacks.ensemble import Ensemble
    from cfamc_zoo.evaluation.attacks.protocol import Attack
    from cfamc_zoo.evaluation.edits_assessment import EditsAssessment
    from cfamc_zoo.evaluation.encoder_assessment import EncoderAssessment
    from cfamc_zoo.evaluation.encoder_images import Images
    from cfamc_zoo.evaluation.heads.fitting import FittedProbe
    from cfamc_zoo.evaluation.heads.probing import Labels
    from cfamc_zoo.zoo.network.encoder import Encoder


def attack(
    model: nn.Module | str,
    images: object,
    labels: object,
    *,
    attack: str | Attack | Ensemble = "pgd",
    eps: object = "8/255",
    norm: str = "linf",
    seed: int = 0,
    progress: bool | Callable[[int, int, str], object] = False,
    **settings: object,
) -> Assessment:
    """Clean and robust accuracy of any classifier, and the reasons to doubt them.

    The model, the images, the labels and torch's random state are afterwards as they were.

    Args:
        model: a module from (N, C, H, W) float32 in [0, 1] to (N, classes) logits, or the name of
            one that `load_classifier` takes. It is attacked in evaluation mode, on its own device.
        images: (N, C, H, W) of any size and number of channels, in [0, 1]: a tensor or an array of
            any floating-point type, or a list of (C, H, W) ones. uint8 is taken as 0..255 and
            divided by 255.
        labels: (N,) or (N, 1) whole numbers of any type, or one-hot (N, classes): a tensor, an
            array or a list.
        attack: "pgd", "autoattack", or another name that `cfamc-zoo attack --attack` takes; or a
            value of your own, like `Pgd(steps=50, restarts=10)`.
        eps: one radius or several, in pixels of [0, 1]: text like "8/255" or any number; several
            as a list, an array, or text with commas.
        norm: "linf" or "l2".
        seed: of all draws; equal calls give equal results.
        progress: True shows a bar with the time left (lines, where stderr is no terminal or
            notebook); a function is told instead: images done, of how many, what is going on.
        **settings: of a named attack, like `steps=50`, `restarts=10` or `step_size="1/255"`; and
            `batch_size`, images at a time, where neither 128 nor, on a GPU, 512 suits. It is
            halved when memory runs out, and changes no draws.

    Raises:
        UsageError: an unknown attack, norm or setting, an impossible radius or value, no model.
        DataError: images outside [0, 1]; labels that the model does not have or that do not go
            with the images; either of another type or shape.
        ModelError: the model raises, or returns something else than finite logits.
    """
    from cfamc_zoo.evaluation.arguments import norm_of, threats_of, whole
    from cfamc_zoo.evaluation.assessment import Terms, assess
    from cfamc_zoo.evaluation.attacks.settings import attack_of
    from cfamc_zoo.zoo.catalogue.resolve import resolve
    from cfamc_zoo.zoo.release.loading import load_probe

    kind, batch_size = norm_of(norm), settings.pop("batch_size", None)
    terms = Terms(
        attack_of(attack, settings, kind),
        threats_of(eps, kind),
        whole(seed, "seed", least=0),
        None if batch_size is None else whole(batch_size, "batch_size", least=1),
    )
    classifier = load_probe(resolve(model)) if isinstance(model, str) else model
    return assess(classifier, images, labels, terms, progress=progress)


def attack_encoder(
    encoder: Encoder | str,
    images: Images,
    *,
    eps: object = "8/255",
    norm: str = "linf",
    features: str = "backbone",
    seed: int = 0,
    progress: bool | Callable[[int, int, str], object] = False,
    **settings: object,
) -> EncoderAssessment:
    """How far an attacker moves an encoder's vectors, without labels: pushed away, and pulled.

    Each image is pushed away from its own vector, and in random pairs pulled onto another's. The
    encoder, the images and torch's random state are afterwards as they were.

    Args:
        encoder: what `load` or `wrap` returns, attacked in evaluation mode on its own device; or
            what `load` takes.
        images: at least three: (N, H, W, 3) uint8 of any size, which become its input, or
            (N, 3, S, S) floating point in [0, 1]. They are compared with each other.
        eps, norm, seed, progress: as `attack` takes them.
        features: "backbone", and where the encoder has them "representation" or "projection".
        **settings: `steps` (20), `step_size` (2.5 eps / steps), `distance` ("l2" or "cosine"), and
            `batch_size`, images at a time, which is halved when memory runs out and changes no
            draws; by default at most 128, or on a GPU 512, and fewer of images over 64 x 64.

    Returns:
        With `results`, one a radius: `push_quantiles` and `pull_quantiles` (the part of all pairs
        of images that are at most so far apart), `breakaway_risk`, `overlap_risk` and `retrieval`
        (top-1 in percent, with its interval); `adversarial`, `print`, `to_json()`, `save(path)`
        and `report(path)`. The measures are those of arXiv 2210.04076.

    Raises:
        UsageError: no encoder, an unknown norm, feature or setting, an impossible radius.
        DataError: fewer than three images, of another type, size or range, or one vector for all,
            so that nothing can be measured.
        ModelError: the encoder raises, or returns something else than finite vectors.
    """
    from cfamc_zoo.evaluation.arguments import norm_of, threats_of, whole
    from cfamc_zoo.evaluation.attacks.choice import FEATURE, Choice
    from cfamc_zoo.evaluation.encoder_assessment import EncoderTerms, assess_encoder

    kind, batch_size = norm_of(norm), settings.pop("batch_size", None)
    terms = EncoderTerms(
        Choice(FEATURE, settings, kind).feature_attack(),
        threats_of(eps, kind),
        features,
        whole(seed, "seed", least=0),
        None if batch_size is None else whole(batch_size, "batch_size", least=1),
    )
    return assess_encoder(encoder, images, terms, progress=progress)


def edits(
    encoder: Encoder | str,
    images: Images,
    *,
    kinds: str | Sequence[str] | None = None,
    eps: object = None,
    features: str = "backbone",
    seed: int = 0,
    progress: bool | Callable[[int, int, str], object] = False,
    **settings: object,
) -> EditsAssessment:
    """How far ordinary edits of images move an encoder's vectors: JPEG, sizes, crops, colours.

    Each image is edited by Pillow at the size of the encoder's input, and its vector is compared
    with the one that it had. The encoder and torch's random state are afterwards as they were.

    Args:
        encoder: as `attack_encoder` takes it.
        images: at least three, (N, H, W, 3) uint8 of any size, which become its input first. They
            are compared with each other.
        kinds: of "jpeg", "resize", "crop", "brightness", "contrast", "blur" and "noise"; None is
            all of them.
        eps: radii of an adversary beside them, as `attack` takes them; None is none.
        features: "backbone", and where the encoder has them "representation" or "projection".
        seed: of all draws.
        progress: as `attack` takes it.
        **settings: `distance` of vectors ("l2" or "cosine"), `batch_size`, and of the adversary
            `norm` ("linf"), `steps` (20) and `step_size`.

    Returns:
        With `results`, one an edit and strength: `quantiles`, one an image (the part of all pairs
        of images that are at most as far apart as it moved, arXiv 2210.04076), `retrieval` (top-1
        in percent, with its interval), `distances` and `pixels`; `print`, `to_json()` and
        `report(path)`.

    Raises:
        UsageError: no encoder, an unknown kind, norm, feature or setting, an impossible radius.
        DataError: fewer than three images, of another type, or one vector for all.
        ModelError: the encoder raises, or returns something else than finite vectors.
    """
    from cfamc_zoo.evaluation.arguments import norm_of, threats_of, whole
    from cfamc_zoo.evaluation.attacks.choice import FEATURE, Choice
    from cfamc_zoo.evaluation.edits.table import edits_called
    from cfamc_zoo.evaluation.edits_assessment import EditTerms, edits_of

    kind, batch_size = norm_of(settings.pop("norm", "linf")), settings.pop("batch_size", None)
    terms = EditTerms(
        edits_called(kinds),
        Choice(FEATURE, settings, kind).feature_attack(),
        [] if eps is None else threats_of(eps, kind),
        features,
        whole(seed, "seed", least=0),
        None if batch_size is None else whole(batch_size, "batch_size", least=1),
    )
    return edits_of(encoder, images, terms, progress=progress)


def probe(
    model: Encoder | str,
    images: Images,
    labels: Labels,
    *,
    test: tuple[Images, Labels] | None = None,
    features: str | None = None,
    head: str = "linear",
    select: str = "clean",
    seed: int = 0,
) -> FittedProbe:
    """Fits a linear head on an encoder's frozen features: head, train, test and k-NN accuracy.

    Args:
        model: an encoder, which stays as and where it is; or a model's name, a release folder or
            ORGANIZATION/NAME on the Hub, which goes to the GPU if there is one.
        images: (N, H, W, 3) uint8 of any size, or (N, 3, S, S) floating point in [0, 1].
        labels: (N,) integers from 0, or names of classes.
        test: images and labels of the same kinds; without them a fifth of each class is held out
            by the seed.
        features: "backbone", "representation" or "projection"; None is what the model's own head
            reads, else "representation".
        head: "linear", or "published" for the paper's schedule.
        select: what chooses a linear head: "clean" or "robust".
        seed: of all draws.

    Returns:
        With `head`, a layer from features to logits; `classifier`, from images to logits;
        `test_accuracy`, `interval`, `train_accuracy` and `knn_accuracy` in percent; and
        `save(path)`, which writes what `attack --probe` takes.

    Raises:
        UnknownNameError, UsageError: no such model, feature, head or selection; one class alone.
        DataError: images or labels of another kind, or that do not go together.
    """
    from cfamc_zoo.evaluation.heads.fitting import ProbeSettings
    from cfamc_zoo.evaluation.heads.probing import probe_images

    settings = ProbeSettings(features or "", head, select, seed)
    return probe_images(model, images, labels, test=test, settings=settings)
