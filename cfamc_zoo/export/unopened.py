"""Stand-ins for the classes in a pickle that are not opened: they keep what they are given.

With them a file is read whose other objects nobody trusts: no code of theirs is imported or run.
"""

from __future__ import annotations

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


def stand_in(name: str) -> type[Unopened]:
    """A class in the place of the one of that name."""
    return type("StandIn", (Unopened,), {"name": name})


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
