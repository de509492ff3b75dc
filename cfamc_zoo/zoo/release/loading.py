"""Networks out of release folders and into them: weights are loaded strictly."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar, overload

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from cfamc_zoo.atomic import storage_errors
from cfamc_zoo.errors import ReleaseError, ZooError, first_line
from cfamc_zoo.zoo.network.classifier import Classifier
from cfamc_zoo.zoo.network.encoder import Encoder, build_projector, normalization
from cfamc_zoo.zoo.network.multicrop import CropPlan, MultiCrop
from cfamc_zoo.zoo.network.uninitialized import skeleton
from cfamc_zoo.zoo.release.config import ReleaseConfig
from cfamc_zoo.zoo.release.folder import MODEL, PROBE, PROJECTOR, Release, write_files
from cfamc_zoo.zoo.release.own import OwnModel
from cfamc_zoo.zoo.release.probe_file import read_head

E = TypeVar("E", bound=Encoder)


@overload
def load_encoder(release: Release) -> Encoder: ...


@overload
def load_encoder(release: Release, kind: type[E]) -> E: ...


def load_encoder(release: Release, kind: type[Encoder] | None = None) -> Encoder:
    """The encoder in evaluation mode, float32, weights loaded strictly.

    Args:
        kind: the class to build; None is the network alone.

    Raises:
        ReleaseError: a file's digest, or a tensor's name or shape, is not as recorded.
    """
    if isinstance(release, OwnModel):
        made: Encoder = release.encoder
        return made.requires_grad_(False)
    architecture = release.config.architecture
    with skeleton() if architecture.buffers_are_stored else nullcontext():
        projector = build_projector(architecture) if release.has(PROJECTOR) else None
        encoder = (kind or Encoder)(architecture, projector=projector)
    tensors = _tensors(release, MODEL)
    if projector is not None:
        tensors |= _tensors(release, PROJECTOR)
    _load_strictly(encoder, tensors, str(release.folder))
    encoder.preprocess = release.config.preprocess
    encoder.normalize = normalization(encoder.preprocess)  # config.json has its values
    encoder.config = release.config
    return encoder.eval().requires_grad_(False)


def load_probe(release: Release) -> Classifier:
    """The release's encoder and linear head as one classifier.

    Raises:
        ReleaseError: the release has no probe, or one that does not fit.
    """

    if not release.has(PROBE):
        command = shlex.join(
            ["cfamc-zoo", "probe", "-m", str(release.folder), "-o", "head.safetensors"]
        )
        raise ReleaseError(
            f"release {release.config.name!r} has no {PROBE}, so no classifier; give --probe "
            f"head.safetensors once `{command}` has made it"
        )
    return attach_probe(load_encoder(release), release.read(PROBE), PROBE)


def save_release(
    folder: Path, encoder: Encoder, config: ReleaseConfig, others: Mapping[str, bytes] | None = None
) -> Release:
    """Writes weights, the other files and last config.json, which pins them.

    Matrices are stored float16; vectors and buffers float32.

    Args:
        folder: created if missing.
        config: its `files` are filled in here.
        others: further files of the release by name (probe, graph, results).

    Raises:
        StorageError: the folder cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return write_files(folder, config, weights_of(encoder) | dict(others or {}))


def _stored(tensor: Tensor) -> Tensor:
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float16 if tensor.ndim > 1 else torch.float32)
    return tensor.detach().cpu().contiguous()


def _tensors(release: Release, name: str) -> dict[str, Tensor]:
    try:
        return load(release.read(name))
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ReleaseError(
            f"{str(release.folder / name)!r} is not safetensors: {first_line(error)}; "
            "nothing else is read"
        ) from error


def _load_strictly(encoder: Encoder, tensors: dict[str, Tensor], where: str) -> None:
    """Assigns every tensor, float32, and refuses missing, extra and misshapen ones."""
    expected = encoder.state_dict()
    missing, extra = sorted(set(expected) - set(tensors)), sorted(set(tensors) - set(expected))
    if missing or extra:
        raise ReleaseError(
            f"weights in {where!r} do not fit the architecture of their config: missing "
            f"{missing[:3] or 'none'}, extra {extra[:3] or 'none'}; export or pull again"
        )
    for name, value in tensors.items():
        if value.shape != expected[name].shape:
            raise ReleaseError(
                f"tensor {name} in {where!r} has shape {tuple(value.shape)}, expected "
                f"{tuple(expected[name].shape)}; export or pull again"
            )
        if value.is_floating_point() != expected[name].is_floating_point():
            raise ReleaseError(f"tensor {name} in {where!r} is {value.dtype}; export or pull again")
    encoder.load_state_dict(
        {k: v.to(expected[k].dtype) for k, v in tensors.items()}, strict=True, assign=True
    )


def weights_of(encoder: Encoder) -> dict[str, bytes]:
    """The files of weights as a release has them: the projector, if there is one, apart."""
    state = {k: _stored(v) for k, v in encoder.state_dict().items()}
    projector = {k: v for k, v in state.items() if k.startswith("projector.")}
    contents = {MODEL: save({k: v for k, v in state.items() if k not in projector})}
    if projector:
        contents[PROJECTOR] = save(projector)
    return contents


def probe_bytes(classifier: Classifier) -> bytes:
    """The head as a safetensors file; what it reads and its class names are in the metadata."""
    metadata = {
        "feature": classifier.feature,
        "data": classifier.data,
        "classes": json.dumps(classifier.classes),
    }
    if isinstance(classifier.encoder, MultiCrop):
        metadata["crops"] = json.dumps(classifier.encoder.plan.to_json())
    if classifier.split is not None:
        metadata["split"] = json.dumps(asdict(classifier.split))
    tensors = {k: v.detach().cpu().contiguous() for k, v in classifier.head.state_dict().items()}
    return save(tensors, metadata)


def attach_probe(encoder: Encoder, content: bytes, where: str) -> Classifier:
    """A classifier from an encoder and the bytes of a probe file.

    A probe that was fitted to the mean over several crops reads that mean.

    Raises:
        ReleaseError: not a probe, or one for another feature width.
    """
    try:
        tensors = load(content)
        found = read_head(content, where)
        plan = CropPlan(**found.crops) if found.crops is not None else None
    except ReleaseError:
        raise
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, ZooError) as error:
        raise ReleaseError(
            f"{where} is not a probe: {first_line(error)}; train one with "
            "`cfamc-zoo probe -o head.safetensors`"
        ) from error
    feature, classes = found.feature, found.classes
    if set(tensors) != {"weight", "bias"}:
        raise ReleaseError(f"{where} reads {feature!r} with {sorted(tensors)}; it is not a probe")
    expected = (len(classes), encoder.architecture.dimension(feature))
    if tuple(tensors["weight"].shape) != expected or tensors["bias"].shape != expected[:1]:
        raise ReleaseError(
            f"{where} has a head of {tuple(tensors['weight'].shape)}, this encoder needs "
            f"{expected}; train one with `cfamc-zoo probe -o head.safetensors`"
        )
    head = nn.Linear(expected[1], expected[0])
    head.load_state_dict({k: v.float() for k, v in tensors.items()})
    head.eval().requires_grad_(False)
    reader = MultiCrop(encoder, plan) if plan else encoder
    classifier = Classifier(
        reader, head, feature=feature, classes=classes, data=found.data, split=found.split
    )
    # The whole module: packages that attack a model look at its own flag, and put every layer
    # back into the mode that it says.
    return classifier.eval()
