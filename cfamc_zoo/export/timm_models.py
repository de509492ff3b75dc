"""timm's networks as encoders: weights from its repositories on the Hub, a file, or at random."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cfamc_zoo.errors import HubError, UsageError
from cfamc_zoo.export.foreign import HEADS, load_tensors, read_file, renamed
from cfamc_zoo.export.wrappers import find_state_dict
from cfamc_zoo.zoo.catalogue.hub_errors import hub_errors
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.families.timm import Argument, TimmArchitecture, check_arguments
from cfamc_zoo.zoo.network.spec import INTERPOLATIONS, Preprocess
from cfamc_zoo.zoo.network.timm_layers import import_timm, make_network
from cfamc_zoo.zoo.release.config import FORMAT_VERSION, ReleaseConfig

RANDOM, SEED = "random", 0
FILE = "model.safetensors"  # in timm's repositories
INSTEAD = f"give --weights FILE, or --weights {RANDOM}"


@dataclass(frozen=True)
class Imported:
    """An encoder of timm's, what is known of it, and the keys of its file that are left out."""

    encoder: Encoder
    config: ReleaseConfig
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class _Weights:
    """A file of weights, and where it is from, as config.json says it."""

    path: Path
    origin: dict[str, Any]


def import_network(
    name: str, *, weights: str | None = None, settings: Sequence[str] = (), size: int | None = None
) -> Imported:
    """A network of timm without its classifier, on pixels in [0, 1].

    Its input is what timm says of it: size, filter, crop, and mean and std, which become a layer.
    Of a file every key goes somewhere: into the network, or, of a classifier, to what is left out.

    Args:
        name: as timm has it, with a tag of weights or without.
        weights: a file of tensors, safetensors or what torch.save wrote, or "random"; None is
            what timm's own repository on the Hub has, from the cache where it is there.
        settings: "key=value", arguments of the network's maker.
        size: pixels a side of the input; None is timm's.

    Raises:
        UsageError: timm is not installed, has no such network, or makes it otherwise; an input
            that it does not take, or that this package does not prepare.
        ReleaseError: a file that is no plain tensors, or whose tensors are not the network's.
        HubError: there is no cached file, and the Hub cannot be reached.
    """
    arguments = arguments_of(settings)
    network = make_network(name, arguments, num_classes=0).eval()
    given: Mapping[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    preprocess, fixed = _input(name, given, arguments, size)
    architecture = TimmArchitecture(
        name.split(".")[0], _width(network, name, preprocess.size), arguments, fixed
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        encoder = Encoder(architecture, preprocess=preprocess).eval().requires_grad_(False)
    left_out: list[str] = []
    origin: dict[str, Any] = {"kind": RANDOM, "seed": SEED}
    licence = None
    if weights != RANDOM:
        found = _of_file(Path(weights)) if weights is not None else _of_the_hub(name, given)
        licence = given.get("license") if weights is None else None
        left_out = _load(encoder, found.path, name, arguments)
        origin = found.origin | {"left_out": left_out}
    config = ReleaseConfig(
        format_version=FORMAT_VERSION,
        name=name,
        architecture=architecture,
        preprocess=preprocess,
        threat_model={},
        recipe={},
        provenance={"timm": import_timm().__version__, "weights": origin},
        licence=str(licence or "unknown"),
    )
    return Imported(encoder, config, tuple(left_out))


def arguments_of(settings: Sequence[str]) -> dict[str, Argument]:
    """ "img_size=64" and the like: numbers, true and false, else words.

    Raises:
        UsageError: not key=value, or what a network may not be made with.
    """
    arguments: dict[str, Argument] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {setting!r} is not key=value; for example --set img_size=64")
        switches: dict[str, Argument] = {"true": True, "false": False}
        arguments[key] = int(text) if text.isdecimal() else switches.get(text, text)
    check_arguments(arguments)
    return arguments


def _input(
    name: str, given: Mapping[str, Any], arguments: Mapping[str, Argument], size: int | None
) -> tuple[Preprocess, int | None]:
    """How images become the network's input, and its size where it takes no other."""
    channels, height, width = given["input_size"]
    mode, interpolation = given.get("crop_mode") or "center", given["interpolation"]
    if (channels, height, mode) != (3, width, "center") or interpolation not in INTERPOLATIONS:
        raise UsageError(
            f"{name} takes {height} x {width} pixels of {channels} channels, by {interpolation} "
            f"and crop mode {mode}; known here are squares of 3 channels, by "
            f"{' or '.join(INTERPOLATIONS)}, cropped in the centre"
        )
    built = int(arguments.get("img_size", height))
    fixed = built if given.get("fixed_input_size") or "img_size" in arguments else None
    if fixed is not None and size not in (None, fixed):
        raise UsageError(
            f"{name} takes {fixed} x {fixed} pixels alone, and --size is {size}; leave it away, or "
            f"build the network for that size with --set img_size={size}"
        )
    preprocess = Preprocess(
        size=size or built,
        interpolation=interpolation,
        mean=tuple(given["mean"]),
        std=tuple(given["std"]),
        crop=float(given.get("crop_pct") or 1),
    )
    return preprocess, fixed


def _width(network: nn.Module, name: str, size: int) -> int:
    """Values that it gives of an image."""
    try:
        with torch.no_grad():
            shape = tuple(network(torch.zeros(2, 3, size, size)).shape)
    except Exception as error:  # anybody's layers, on a size that they may not bear
        raise UsageError(
            f"{name} does not take {size} x {size} pixels: {type(error).__name__}; give another "
            "--size, or --set img_size=..."
        ) from error
    if len(shape) != 2:
        raise UsageError(
            f"{name} gives {shape} of 2 images, and vectors are needed; set another global_pool"
        )
    return shape[1]


def _of_file(path: Path) -> _Weights:
    if not path.is_file():
        raise UsageError(f"weights {str(path)!r} are no file; {INSTEAD}")
    return _Weights(path, {"kind": "file", "name": path.name, "sha256": _sha256(path)})


def _of_the_hub(name: str, given: Mapping[str, Any]) -> _Weights:
    """The file of timm's repository: from the cache, else fetched into it."""
    from huggingface_hub import hf_hub_download

    repo, _, revision = str(given.get("hf_hub_id") or "").partition("@")
    if not repo:
        raise UsageError(f"timm has no weights of {name} on the Hub; {INSTEAD}")
    try:
        with hub_errors(repo):
            path = Path(hf_hub_download(repo, FILE, revision=revision or None))
    except HubError as error:
        raise HubError(
            f"the weights of {name} are not in the cache, and {repo} cannot be fetched from the "
            f"Hub: connect once (with HF_HUB_OFFLINE unset), or {INSTEAD}"
        ) from error
    origin = {"kind": "repository", "name": repo, "revision": path.parent.name}
    return _Weights(path, origin | {"sha256": _sha256(path)})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(encoder: Encoder, path: Path, name: str, arguments: Mapping[str, Argument]) -> list[str]:
    """Puts the file's tensors into the network; the keys that are left out."""
    state, beside = find_state_dict(read_file(path)[0], repr(str(path)))
    own = list(encoder.backbone.state_dict())
    head = set(make_network(name, arguments).state_dict()) - set(own)
    rules = [(_any_of(own), r"backbone.\1")]
    rules += [(_any_of(sorted(head)), "")] if head else []
    rules.append(HEADS)
    tensors, left_out = renamed(
        state,
        rules,
        f"{str(path)!r}",
        first=f"backbone.{own[0]}",
        remedy=lambda: f"it holds the weights of another network than {name}",
    )
    load_tensors(encoder, tensors, f"{str(path)!r} does not fit {name}")
    return [*left_out, *beside]


def _any_of(keys: Sequence[str]) -> str:
    return f"({'|'.join(map(re.escape, keys))})"
