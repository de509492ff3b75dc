"""Stand-ins for the classes in a pickle that are not opened: they keep what they are given.

With them a file is read whose other objects nobody trusts: no code of theirs is imported or run.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

from torch import Tensor


class Unopened:
    """An object of a class that was not opened; what it would have been built from."""

    name = ""  # of the class
    state: Any = None

    def __new__(cls, *arguments: Any, **named: Any) -> Unopened:
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


class UnopenedList(Unopened, list):
    """The same of a class that is a list, which the unpickler fills itself."""


class UnopenedDict(Unopened):
    """The same of a class that is a dict: torch fills none but these."""

    def __new__(cls, *arguments: Any, **named: Any) -> Any:
        return OrderedDict()


# What torch says when it should fill an object that has turned out to be of another kind.
FILLS = re.compile(r"Can only (append|SETITEM).*got <class '[\w.]*\bunopened\.([\w.]+)'>")
KINDS: dict[str, type[Unopened]] = {"append": UnopenedList, "SETITEM": UnopenedDict}


def stand_in(name: str, kind: type[Unopened] = Unopened) -> type[Unopened]:
    """A class in the place of the one of that name, by which torch's errors call it."""
    return type(name, (kind,), {"name": name, "__module__": __name__})


def other_kind(error: Exception) -> dict[str, type[Unopened]]:
    """The class that torch could not fill, and what its stand-in should be."""
    found = FILLS.search(str(error))
    return {found[2]: KINDS[found[1]]} if found else {}


def is_module(value: object) -> bool:
    """Whether a value was a torch.nn.Module."""
    return (
        isinstance(value, Unopened)
        and isinstance(value.state, dict)
        and {"_parameters", "_buffers", "_modules"} <= value.state.keys()
    )


def state_dict_of(module: Unopened) -> dict[str, Tensor]:
    """What `state_dict()` of a module gives that was pickled whole."""
    state: dict[str, Tensor] = {}
    unsaved = module.state.get("_non_persistent_buffers_set", ())
    for name, value in (module.state["_parameters"] | module.state["_buffers"]).items():
        if isinstance(value, Tensor) and name not in unsaved:
            state[name] = value
    for name, child in module.state["_modules"].items():
        if is_module(child):
            state |= {f"{name}.{key}": value for key, value in state_dict_of(child).items()}
    return state
