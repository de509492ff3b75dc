"""Checkpoints of others as encoders: the paper's own, torchvision's, timm's, of SSL's programs.

The only place that opens a `.pt`, and only as plain tensors: other objects are not opened. Every
key of the file goes somewhere: it becomes a tensor of the encoder, or is named as left out
(heads, queues, momentum copies, optimizers), or is refused.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cfamc_zoo.errors import ReleaseError, UnknownNameError, UsageError, first_line
from cfamc_zoo.export.unopened import Unopened, other_kind, stand_in
from cfamc_zoo.export.wrappers import Rule, choose, find_state_dict, place
from cfamc_zoo.zoo.network.encoder import Encoder, build_projector
from cfamc_zoo.zoo.network.families.resnet import BACKBONE_BLOCKS, ResNetArchitecture
from cfamc_zoo.zoo.network.spec import Preprocess

Rules = tuple[Rule, ...]
FIRST = "backbone.conv1.weight"  # which every ResNet has
BACKBONE = r"(?:conv1|bn1|layer[1-4])\..+"
# torchvision's children in order, as `nn.Sequential(*list(resnet.children())[:-1])` numbers them;
# those without weights, its ReLU, pooling and what takes their place, are 2, 3 and 8.
CHILDREN = {"0": "conv1", "1": "bn1", **{str(3 + i): f"layer{i}" for i in (1, 2, 3, 4)}}
# The first stage of a network whose ReLU is no child of it, numbered in the same way: of lightly's
# own for CIFAR. In a Sequential it has no ReLU behind its first layers, so it is another network.
WITHOUT_RELU = re.compile(r"(?:.+\.)?2\.0\.conv1\.weight")
# What networks written for CIFAR call torchvision's `downsample`.
SHORTCUT = re.compile(r"^(backbone\.layer[1-4]\.\d+\.)shortcut\.")


def _resnet(around: str) -> Rules:
    """A ResNet under attributes, its children named or numbered, and its classifier left out."""
    return (
        (rf"{around}({BACKBONE})", r"backbone.\1"),
        *((rf"{around}{i}\.(.+)", rf"backbone.{name}.\1") for i, name in CHILDREN.items()),
        (rf"{around}(?:fc|linear)\..+", ""),
    )


# What programs of self-supervised learning have beside the network: heads, predictors, prototypes,
# queues, losses with state, and the other copy of the network, which is not the one to keep.
HEADS: Rule = (
    r"(?:(?:student|teacher|query|key|online|target|momentum|local)[._])?"
    r"(?:(?:projection|projetion|prediction|dino|ibot)_?(?:head)?|head|projector|predictor"
    r"|classifier|prototypes|criterion|center|loss|memory_bank|queues?|queue_ptr)"
    r"(?:_momentum)?(?:[._].*)?",
    "",
)
# lightly's programs have these beside `backbone`, which is what they themselves evaluate. Those of
# DINO have no `backbone`, and evaluate the teacher's.
COPIES: Rule = (r"(?:student|teacher|query|key)_backbone\..+|backbone_momentum\..+", "")
# By layout: patterns of keys and what they become; "" leaves them out.
LAYOUTS: dict[str, Rules] = {
    "cf-amc-ssl": (
        (rf"backbone\.({BACKBONE})", r"backbone.\1"),
        (r"pre_feature\.([01]\..+)", r"representation.\1"),
        (r"projection\.([01]\..+)", r"projector.0.\1"),
        (r"projection\.3\.(.+)", r"projector.1.\1"),
    ),
    "torchvision": ((rf"({BACKBONE})", r"backbone.\1"), (r"fc\..+", "")),
    "timm": ((rf"({BACKBONE})", r"backbone.\1"), (r"fc\..+", "")),
    "solo-learn": (
        (rf"(?:backbone\.|encoder\.)?({BACKBONE})", r"backbone.\1"),
        (r"(?:backbone\.|encoder\.)?fc\..+", ""),
        (r"(?:projector|predictor|classifier|prototypes|queue|momentum_\w+)(?:[._].*)?", ""),
    ),
    "lightly": (COPIES, *_resnet(r"(?:backbone\.)?"), HEADS),
    # DINO's teacher is taken where the file has both.
    "dino": (*_resnet(r"(?:teacher\.)?(?:backbone\.)?"), (r"student\..+", ""), HEADS),
    "byol": (
        *_resnet(r"(?:online_network\.)?(?:net\.|encoder\.)?"),
        (r"(?:online_encoder|target_encoder|target_network)\..+|online_network\.proj.+", ""),
        HEADS,
    ),
    "moco": (
        *_resnet(r"(?:encoder_q|base_encoder)\."),
        (r"(?:encoder_k|momentum_encoder)\..+", ""),
        HEADS,
    ),
}
# Other ways in which programs of a layout name things; the first that fits a whole file counts.
OTHER_WAYS: dict[str, tuple[Rules, ...]] = {
    "lightly": ((*_resnet(r"teacher_backbone\."), COPIES, HEADS),),
}
NORMALIZATIONS = {
    "none": Preprocess(),
    "imagenet": Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "cifar": Preprocess(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
}
USUAL = {"cf-amc-ssl": "none", "solo-learn": "cifar"}  # all else "imagenet"


@dataclass(frozen=True)
class Imported:
    """An encoder from a file, and the keys of the file that are not in it.

    `unopened` names the classes of objects beside the tensors, which were not opened.
    """

    encoder: Encoder
    left_out: tuple[str, ...]
    unopened: tuple[str, ...] = ()


def import_checkpoint(path: Path, layout: str, *, normalization: str | None = None) -> Imported:
    """Reads a state dict, or a checkpoint that holds one, as training programs write them.

    It may be under "state_dict", "model" and the like, its keys may have the prefixes of
    torch.compile, DistributedDataParallel, Lightning and averages of weights, in any order, and
    the network may have been pickled whole. Averaged weights are taken where there are both.
    Architecture and sizes come from the tensors. A network without the paper's projector gets a
    representation that repeats its backbone's features.

    Args:
        path: what torch.save wrote, or a `.safetensors`.
        layout: "cf-amc-ssl", "torchvision", "timm", "solo-learn", "lightly", "dino", "byol" or
            "moco".
        normalization: "none", "imagenet" or "cifar": what its training did to pixels in [0, 1].
            None is what the layout's public checkpoints were trained with.

    Raises:
        UnknownNameError: no such layout or normalization.
        ReleaseError: no such file (nothing of it is executed), or keys and shapes that are not
            the layout's.
    """
    if layout not in LAYOUTS:
        raise UnknownNameError("layout", layout, LAYOUTS)
    normalization = normalization or USUAL.get(layout, "imagenet")
    if normalization not in NORMALIZATIONS:
        raise UnknownNameError("normalization", normalization, NORMALIZATIONS)
    content, unopened = read_file(path)
    state, beside = find_state_dict(content, repr(str(path)))
    tensors, left_out = renamed(
        state,
        _rules(layout, state),
        f"{layout} file {str(path)!r}",
        first=FIRST,
        remedy=lambda: _other_layout(state),
    )
    tensors = {SHORTCUT.sub(r"\1downsample.", key): value for key, value in tensors.items()}
    architecture = _architecture(tensors, str(path))
    if "representation.0.weight" not in tensors:
        tensors |= _repeating_representation(architecture.features)
    size = 32 if architecture.stem == "cifar" else 224
    shift = NORMALIZATIONS[normalization]
    projected = "projector.1.weight" in tensors
    encoder = Encoder(
        architecture,
        preprocess=Preprocess(size=size, mean=shift.mean, std=shift.std),
        projector=build_projector(architecture) if projected else None,
    )
    load_tensors(encoder, tensors, f"{str(path)!r} does not fit, if it is {layout}")
    left_out = [*left_out, *beside]
    return Imported(encoder.eval().requires_grad_(False), tuple(left_out), tuple(unopened))


def load_tensors(encoder: Encoder, tensors: dict[str, Tensor], where: str) -> None:
    """Puts all of the tensors into the encoder, and all that it needs from them.

    Raises:
        ReleaseError: one is missing, or of another shape; its message begins with `where`.
    """
    expected = encoder.state_dict()
    # Files from before torch 0.4.1 have no such counts, and nothing needs them.
    counts = {k: v for k, v in expected.items() if k.endswith(".num_batches_tracked")}
    tensors = counts | tensors
    missing = sorted(set(expected) - set(tensors))
    if missing:
        raise ReleaseError(f"{where}: it lacks {len(missing)} tensors: {', '.join(missing[:3])}")
    for name, value in tensors.items():
        shape = tuple(expected[name].shape) if name in expected else "no such tensor"
        if shape != tuple(value.shape):
            raise ReleaseError(f"{where}: {name} is {tuple(value.shape)} where it has {shape}")
    encoder.load_state_dict(tensors, strict=True)


def read_file(path: Path) -> tuple[Any, list[str]]:
    """What a file holds, and the names of the classes in it that were not opened."""
    where = repr(str(path))
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise ReleaseError(f"{where} cannot be read: {error.strerror}") from error
    if head[8:9] == b"{":  # after the length of its header
        return _safetensors(path), []
    if head.startswith(b"version https://git-lfs"):
        raise ReleaseError(f"{where} stands for a file in Git LFS; get that with `git lfs pull`")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise ReleaseError(
                    f"{where} is a TorchScript archive, whose code is not run; save "
                    "torch.jit.load(file).state_dict() with torch.save"
                )
    try:
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # an older format: the reading itself says what is in the way
        names = []
    kinds: dict[str, type[Unopened]] = {}
    while True:
        try:
            return _unpickled(
                path, [(stand_in(n, kinds.get(n, Unopened)), n) for n in names]
            ), names
        except Exception as error:  # unpickling may raise anything; all of it means the same here
            filled = other_kind(error)
            if filled and not filled.keys() <= kinds.keys():
                kinds |= filled
                continue
            raise ReleaseError(
                f"{where} {_in_the_way(error, names)}; nothing of it was executed; save its "
                "state_dict() alone, with torch.save"
            ) from error


def _unpickled(path: Path, stand_ins: list[Any]) -> Any:
    with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the pickle's version
        return torch.load(path, map_location="cpu", weights_only=True)


def _in_the_way(error: Exception, names: Sequence[str]) -> str:
    """What of a file is not plain tensors; torch's own words are of several lines, and coloured."""
    found = re.search(r"GLOBAL ([\w.]+) ", str(error))
    classes = list(dict.fromkeys([*([found[1]] if found else []), *names]))
    if classes:
        more = f" and {len(classes) - 3} more" if len(classes) > 3 else ""
        return f"holds {', '.join(classes[:3])}{more}, which is not opened"
    return "is no file of plain tensors that torch wrote, or it is damaged"


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ReleaseError(f"{str(path)!r} is not safetensors: {first_line(error)}") from error


def renamed(
    state: dict[str, Any],
    rules: Sequence[Rule],
    where: str,
    *,
    first: str,
    remedy: Callable[[], str],
) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors under our names, and the keys that are left out.

    Args:
        state: a state dict.
        rules: patterns of its keys and what they become; "" leaves them out.
        where: what it is, as errors begin with it.
        first: one of our names, which tells where in the state dict a network is.
        remedy: what to do about keys that no rule takes.

    Raises:
        ReleaseError: keys that no rule takes, two of one name, or several networks.
    """
    places = {key: place(key, rules) for key in state}
    unknown = [k for k, found in places.items() if not found and isinstance(state[k], Tensor)]
    if unknown:
        raise ReleaseError(
            f"{where} has {len(unknown)} keys of no such layout: {', '.join(sorted(unknown)[:3])}; "
            f"{remedy()}"
        )
    found = {key: it for key, it in places.items() if it}
    networks = [it.prefix for it in found.values() if it.name == first]
    prefix = choose(dict.fromkeys(networks), where)
    tensors: dict[str, Tensor] = {}
    left_out = [key for key in state if key not in found]  # which hold no tensors
    for key, (around, name) in found.items():
        if not name or (around != prefix and around in networks):
            left_out.append(key)
        elif name in tensors:
            raise ReleaseError(f"{where} has {name} twice, once as {key}")
        elif not isinstance(state[key], Tensor):
            kind = getattr(state[key], "name", "") or type(state[key]).__name__
            raise ReleaseError(f"{where} holds {kind} as {key}, where a tensor should be")
        else:
            tensors[name] = state[key]
    return tensors, left_out


def _rules(layout: str, state: Mapping[str, Any]) -> Rules:
    """How the layout's programs name what is in a state dict."""
    usual = LAYOUTS[layout]
    return next((r for r in (usual, *OTHER_WAYS.get(layout, ())) if _fit(r, state)), usual)


def _fit(rules: Rules, state: Mapping[str, Any]) -> bool:
    """Whether they have a place for every tensor, and find a network among them."""
    places = [place(key, rules) for key, value in state.items() if isinstance(value, Tensor)]
    return all(places) and any(found and found.name == FIRST for found in places)


def _other_layout(state: Mapping[str, Any]) -> str:
    """What to do about keys that a layout does not know."""
    for layout in LAYOUTS:
        if _fit(_rules(layout, state), state):
            return f"give another --layout: they are of {layout}"
    if any(WITHOUT_RELU.fullmatch(key) for key in state):
        return (
            "they number a Sequential without the ReLU behind the first layers, as lightly's own "
            "network makes one, which is no ResNet: measure it as `-m package.module:factory`"
        )
    return f"no --layout has them ({', '.join(LAYOUTS)}): save the network's own state_dict() alone"


def _architecture(tensors: dict[str, Tensor], where: str) -> ResNetArchitecture:
    """Sizes as the tensors have them."""
    try:
        stem = tensors["backbone.conv1.weight"]
        kinds = "bottleneck" if "backbone.layer1.0.conv3.weight" in tensors else "basic"
        found = tuple(_count(tensors, rf"backbone\.layer{i}\.(\d+)\.conv1.weight") for i in "1234")
        names = [name for name, blocks in BACKBONE_BLOCKS.items() if blocks == (kinds, found)]
        backbone, kernel = names[0], stem.shape[-1]
        width = stem.shape[0]
        features = 8 * width * (4 if kinds == "bottleneck" else 1)
        shape: Callable[[str, int], int] = lambda key, default: (  # noqa: E731
            tensors[key].shape[0] if key in tensors else default
        )
        return ResNetArchitecture(
            backbone=backbone,
            stem={3: "cifar", 7: "imagenet"}[kernel],  # type: ignore[arg-type]
            width=width,
            representation=shape("representation.0.weight", features),
            projection=shape("projector.1.weight", 1024),
        )
    except (KeyError, IndexError, UsageError) as error:
        raise ReleaseError(
            f"{where!r} holds no ResNet that is known here ({', '.join(BACKBONE_BLOCKS)}, 3x3 or "
            f"7x7 stem): {error}"
        ) from error


def _count(tensors: dict[str, Tensor], pattern: str) -> int:
    return sum(bool(re.fullmatch(pattern, key)) for key in tensors)


def _repeating_representation(features: int) -> dict[str, Tensor]:
    """A block that gives back its input, which is never negative: mean of a ReLU's outputs."""
    ones, zeros = torch.ones(features), torch.zeros(features)
    return {
        "representation.0.weight": torch.eye(features),
        "representation.0.bias": zeros,
        "representation.1.weight": ones * (1 + 1e-5) ** 0.5,  # takes BatchNorm's epsilon back
        "representation.1.bias": zeros,
        "representation.1.running_mean": zeros,
        "representation.1.running_var": ones,
        "representation.1.num_batches_tracked": torch.tensor(0),
    }
