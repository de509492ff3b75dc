"""What people's checkpoints have around a network: containers, and prefixes of its keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.export.unopened import is_module, state_dict_of

# Where a checkpoint keeps a network; averaged weights first, as timm has it.
CONTAINERS = (
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "params_ema"),
    "teacher",  # of DINO: an average too
    *("state_dict", "model_state_dict", "model_state", "model", "network", "net", "module"),
    *("params", "weights", "encoder", "backbone", "online_network", "online_network_state_dict"),
)
# torch.compile, (Distributed)DataParallel, FSDP and Fabric: anywhere in a key, and never ours.
TRANSPARENT = re.compile(
    r"(?:^|(?<=\.))(?:_orig_mod|module|_forward_module|_fsdp_wrapped_module"
    r"|_checkpoint_wrapped_module)\."
)
# Attributes that hold the network: Lightning modules, averages of weights.
ATTRIBUTES = {
    *("model", "net", "network", "encoder", "backbone", "resnet"),
    *("ema", "ema_model", "model_ema", "ema_net", "net_ema", "averaged_model", "online_model"),
}
AVERAGED = re.compile(r"(?:^|[._])(?:ema|averaged)(?:[._]|$)")
# What averages count beside the weights.
COUNTS = {"n_averaged", "decay", "num_updates", "initted", "step"}

Rule = tuple[str, str]


class Place(NamedTuple):
    """Where a key belongs: the attributes around its network, and its own name there."""

    prefix: str
    name: str  # "" where it is left out


def find_state_dict(content: Any, where: str) -> tuple[dict[str, Any], list[str]]:
    """The network's state dict in a checkpoint, and the names of all that is beside it.

    Raises:
        ReleaseError: there is none.
    """
    beside: list[str] = []
    path = ""
    while True:
        held = _mapping(content)
        if held is None:
            raise ReleaseError(
                f"{where} holds no state dict, but {_kind(content)}; save model.state_dict()"
            )
        inside = {name: value for name, value in held.items() if _has_tensors(_mapping(value))}
        here = any(isinstance(value, Tensor) for value in held.values())
        known = [name for name in CONTAINERS if name in inside]
        others = [name for name in inside if "optim" not in str(name)]
        if known:
            chosen = known[0]
        elif here or len(others) != 1:
            break
        else:
            chosen = others[0]
        beside += [f"{path}{name}" for name in held if name != chosen]
        path, content = f"{path}{chosen}.", held[chosen]
    if not here:
        found = ", ".join(map(str, others)) if others else _contents(held)
        raise ReleaseError(f"{where} holds no state dict, but {found}; save model.state_dict()")
    if any(not isinstance(key, str) for key in held):
        raise ReleaseError(f"{where} holds no state dict: its keys are no names")
    return dict(held), beside


def _mapping(value: object) -> Mapping[Any, Any] | None:
    if is_module(value):
        return state_dict_of(value)  # type: ignore[arg-type]
    return value if isinstance(value, dict) else None


def _has_tensors(content: Mapping[Any, Any] | None, depth: int = 3) -> bool:
    return bool(content) and any(
        isinstance(value, Tensor) or (depth > 0 and _has_tensors(_mapping(value), depth - 1))
        for value in (content or {}).values()
    )


def _contents(held: Mapping[Any, Any]) -> str:
    kinds = dict.fromkeys(_kind(value) for value in held.values())
    return f"no tensors: {', '.join(kinds)}" if held else "nothing"


def _kind(value: object) -> str:
    return getattr(value, "name", "") or f"a {type(value).__name__}"


def place(key: str, rules: Iterable[Rule]) -> Place | None:
    """Where a key goes by the first rule that takes it, with what is around it taken off."""
    bare, prefix = TRANSPARENT.sub("", key), ""
    while True:
        for pattern, name in rules:
            if re.fullmatch(pattern, bare):
                return Place(prefix, re.sub(pattern, name, bare) if name else "")
        if bare in COUNTS and (prefix or bare == "n_averaged"):
            return Place(prefix, "")
        head, _, rest = bare.partition(".")
        if head not in ATTRIBUTES or not rest:
            return None
        prefix, bare = f"{prefix}{head}.", rest


def choose(prefixes: Iterable[str], where: str) -> str:
    """Which of several networks in one state dict is meant: the averaged one.

    Raises:
        ReleaseError: none or several are averaged.
    """
    found = list(prefixes)
    averaged = [prefix for prefix in found if AVERAGED.search(prefix)]
    if len(found) > 1 and len(averaged) != 1:
        raise ReleaseError(
            f"{where} holds {len(found)} networks, under {', '.join(p or 'no name' for p in found)}"
            "; save the state_dict() of one of them"
        )
    return (averaged or found or [""])[0]
