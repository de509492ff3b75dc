"""Robust self-supervised image encoders that people can use::

    import cfamc_zoo
    encoder = cfamc_zoo.load("resnet18-thin-cifar10-free")   # nn.Module
    z = encoder(images)                                      # (N, 3, 32, 32) in [0, 1] -> (N, 128)

Nothing heavy is imported until it is used: torch comes with `load`, not with this module.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Unpack

from cfamc_zoo.errors import ZooError
from cfamc_zoo.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from torch import nn

    from cfamc_zoo.embedding.inputs import open_inputs
    from cfamc_zoo.embedding.search.queries import Answer
    from cfamc_zoo.embedding.settings import Options
    from cfamc_zoo.embedding.sources import Source
    from cfamc_zoo.evaluation.assessment import Assessment
    from cfamc_zoo.evaluation.attacks.ensemble import Ensemble
    from cfamc_zoo.evaluation.attacks.protocol import Attack
    from cfamc_zoo.evaluation.edits_assessment import EditsAssessment
    from cfamc_zoo.evaluation.encoder_assessment import EncoderAssessment
    from cfamc_zoo.evaluation.encoder_images import Images
    from cfamc_zoo.evaluation.heads.fitting import FittedProbe
    from cfamc_zoo.evaluation.heads.probing import Labels
    from cfamc_zoo.export.publish import push, save
    from cfamc_zoo.pretrained import Encoder
    from cfamc_zoo.zoo.catalogue.registry import find_model, list_models
    from cfamc_zoo.zoo.network.classifier import Classifier

__all__ = [
    "Encoder",
    "ZooError",
    "__version__",
    "attack",
    "attack_encoder",
    "edits",
    "embed",
    "embed_stream",
    "find_model",
    "list_models",
    "load",
    "load_classifier",
    "open_inputs",
    "probe",
    "push",
    "save",
    "search",
    "train",
    "wrap",
]


# What is the same here and where it lives, which is imported when it is asked for.
LIVES_IN = {
    "Encoder": "cfamc_zoo.pretrained",
    "find_model": "cfamc_zoo.zoo.catalogue.registry",
    "list_models": "cfamc_zoo.zoo.catalogue.registry",
    "open_inputs": "cfamc_zoo.embedding.inputs",
    "push": "cfamc_zoo.export.publish",
    "save": "cfamc_zoo.export.publish",
}


def __getattr__(name: str) -> Any:
    if name not in LIVES_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(LIVES_IN[name]), name)


def load(model: str) -> Encoder:
    """An encoder in evaluation mode, float32.

    Args:
        model: a model's name, a release folder, or ORGANIZATION/NAME[@REVISION] on the Hub.

    Raises:
        UnknownNameError: no such model.
        HubError: the Hub cannot be reached or refuses.
        ReleaseError: its files are not what its config pins.
    """
    from cfamc_zoo.pretrained import Encoder

    return Encoder.from_pretrained(model)


def load_classifier(model: str) -> Classifier:
    """The encoder and its released linear head: an nn.Module from images in [0, 1] to logits.

    Raises:
        UnknownNameError: no such model.
        ReleaseError: its files are not what its config pins, or it has no probe.
    """
    from cfamc_zoo.zoo.catalogue.resolve import resolve
    from cfamc_zoo.zoo.release.loading import load_probe

    return load_probe(resolve(model))


def wrap(
    module: nn.Module,
    *,
    size: int = 224,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
) -> Encoder:
    """Any module as an encoder, which `attack_encoder`, `edits` and `probe` take.

    The module itself is in it, not a copy, and is in evaluation mode afterwards. An encoder with a
    head behind it is a classifier, which `attack` takes.

    Args:
        module: from (N, 3, size, size) float32 to vectors (N, D), on any device, its weights
            float32. (N, D, 1, 1) is flattened. Of an object of the transformers library or a
            mapping `image_embeds` or else `pooler_output` is read, else its only tensor (N, D);
            of a tuple its only one. Tokens (N, T, D) and maps are refused: return the one that is
            the vector, such as x[:, 0] or x.mean(1).
        size: pixels a side of its input, and the only size that is then taken.
        mean, std: of the normalization that it was trained with, for pixels in [0, 1], one number
            a channel: a layer before it, so that a radius is one of pixels. By default none.

    Returns:
        An encoder whose "backbone" feature is the vector. `save` and `push` cannot store it, since
        releases hold no code; `cfamc-zoo export timm:NAME` stores timm's networks.

    Raises:
        UsageError: no module, or an impossible size, mean or std.
        ModelError: it raises on images of that size, is not float32, or returns no vectors; says
            what to write.
    """
    from cfamc_zoo.pretrained import Encoder
    from cfamc_zoo.zoo.network.wrapping import wrap_module

    return wrap_module(Encoder, module, size=size, mean=mean, std=std)


def embed(
    images: Source | Iterable[Source],
    *,
    model: str | None = None,
    features: str = "backbone",
    normalize: bool = False,
    backend: str = "onnx",
    device: str | None = None,
    batch_size: int = 32,
    threads: int | None = None,
) -> np.ndarray:
    """Vectors of images: (N, D) float32, one row an image, in their order, without torch.

    Args:
        images: one or many, of any size: paths, Pillow images, the content of files (bytes), open
            files, the {"bytes": ...} of the datasets library; or arrays and tensors, uint8 or
            floats in [0, 1]: (H, W, 3), (H, W), (N, H, W, 3) or (N, 3, H, W). Anything that can
            be gone through: lists, generators.
        model: a name or a release folder; None is the best bundled encoder.
        features: "backbone", "representation" or, with torch, "projection".
        normalize: rows at unit L2 norm.
        backend: "onnx" or "torch".
        device: "cpu" or "cuda"; None is the CPU for ONNX Runtime, the GPU if any for torch.
        batch_size: images at a time.
        threads: CPU threads; None is one a core.

    Raises:
        UnknownNameError: no such model, features or back end.
        ReleaseError: its files are not what its config pins.
        DataError: an image that cannot be read, or is none; says which, and what to give.
    """
    from cfamc_zoo.embedding.settings import Execution, Settings
    from cfamc_zoo.embedding.vectors import embed_images
    from cfamc_zoo.zoo.catalogue.registry import default_model
    from cfamc_zoo.zoo.catalogue.resolve import resolve

    return embed_images(
        images,
        resolve(model or default_model()),
        Settings(features, backend, normalize),
        Execution(device, threads, batch_size),
    )


def embed_stream(
    images: Source | Iterable[Source],
    *,
    model: str | None = None,
    on_unreadable: Callable[[str, str], object] | None = None,
    **options: Unpack[Options],
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Names and vectors, batch by batch: any number of images in the memory of a few batches.

    Args:
        images: as `embed` takes them, a generator that never ends too, or what `open_inputs`
            gives. They are gone through as they are needed, in the caller's own thread.
        model: as `embed` takes it.
        on_unreadable: told an image's name and why it cannot be read; it has no row then. None
            raises that.
        **options: features, normalize, backend, device, batch_size and threads, as `embed` takes
            them; and dtype, "float32" or "float16".

    Returns:
        Of each batch the names of its rows (paths; else numbers, from "0" on) and their vectors,
        (N, D) of `dtype`, N at most `batch_size` and never 0.

    Raises:
        UnknownNameError, UsageError, ReleaseError: as `embed`, before the first batch.
        DataError: as `embed`, at its turn.
    """
    from cfamc_zoo.embedding.settings import read_options
    from cfamc_zoo.embedding.vectors import embed_stream
    from cfamc_zoo.zoo.catalogue.registry import default_model
    from cfamc_zoo.zoo.catalogue.resolve import resolve

    settings, execution = read_options(options)
    return embed_stream(
        images, resolve(model or default_model()), settings, execution, on_unreadable
    )


def search(
    queries: int | Source | Iterable[str | int | Source],
    vectors: str | Path,
    *,
    k: int = 10,
    model: str | None = None,
    features: str | None = None,
    threads: int | None = None,
) -> list[Answer]:
    """The nearest of stored vectors, by cosine similarity: one answer a query, in their order.

    Args:
        queries: one or many, each a row (17 or "row:17"), a path that stands in the file, or an
            image as `embed` takes it. A row and a path are no neighbours of themselves.
        vectors: what `cfamc-zoo embed` wrote: .parquet, a folder of it, .npy, .csv or .jsonl. Each
            vector is looked at, in blocks; the file is never in memory as a whole.
        k: neighbours of each.
        model: the release that made the vectors; None is what the file names.
        features: of a file that does not say; None is the backbone.
        threads: CPU threads of the model; None is one a core.

    Returns:
        Each with `query` and `neighbours`, the most similar first, and of these `row`,
        `similarity` in -1..1 and `path`.

    Raises:
        UsageError: no such file, row or path, another model than the file's, a k out of range.
        DataError: a file that is none of ours, vectors that are not finite, no image.
    """
    from pathlib import Path

    from cfamc_zoo.embedding.search.opening import open_vectors
    from cfamc_zoo.embedding.search.origin import origin_of
    from cfamc_zoo.embedding.search.queries import find_queries
    from cfamc_zoo.embedding.search.queries import search as search_vectors

    stored = open_vectors(Path(vectors))
    found = find_queries(
        queries,
        stored,
        lambda: origin_of(stored, model=model, feature=features),
        threads=threads,
    )
    return search_vectors(found, stored, k)


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

    kind, batch_size = norm_of(norm), settings.pop("batch_size", None)
    terms = Terms(
        attack_of(attack, settings, kind),
        threats_of(eps, kind),
        whole(seed, "seed", least=0),
        None if batch_size is None else whole(batch_size, "batch_size", least=1),
    )
    classifier = load_classifier(model) if isinstance(model, str) else model
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


def train(
    recipe: str,
    *,
    data: str | Path | None = None,
    run: str | Path | None = None,
    settings: Sequence[str] = (),
    start: str | None = None,
    resume: bool = False,
    device: str | None = None,
    progress: bool = False,
) -> Path | None:
    """Pretrains an encoder from a recipe, as `cfamc-zoo train` does.

    Args:
        recipe: a recipe's name, or a TOML file.
        data: a named set or a folder of images; None is the recipe's own.
        run: folder of the run; None is runs/ and the recipe's name.
        settings: keys of the recipe, each "key=value" with the key dotted.
        start: the release whose weights it starts from: a name, a folder or a Hub repository.
        resume: goes on with the run in that folder.
        device: "cpu", "cuda", ...; None is the GPU where there is one.
        progress: whether to show a bar on stderr (lines, where there is no terminal).

    Returns:
        The folder of the release, which `load` takes.

    Raises:
        UsageError: an unknown recipe or key, an impossible value.
        OutputExistsError: the folder holds a run, and `resume` is not given.
        DataError, TrainingError, StorageError: no images, a loss that is not finite, a full disk.
    """
    from pathlib import Path

    from cfamc_zoo.progress import shown, silent
    from cfamc_zoo.training.run import job_of, train_here
    from cfamc_zoo.zoo.device import find_device

    job = job_of(
        recipe,
        settings,
        data=None if data is None else str(data),
        run=None if run is None else Path(run),
        start=start,
        resume=resume,
    )
    return train_here(job, find_device(device), shown if progress else silent).release
