"""Settings as TOML: those of the package by name, a person's own by path."""

from __future__ import annotations

import tomllib
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from cfamc_zoo.errors import UnknownNameError, UsageError, first_line


def names_in(folder: Traversable) -> list[str]:
    """The names of its TOML files, sorted."""
    return sorted(
        f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")
    )


def read_toml(what: str, name: str, folder: Traversable) -> dict[str, Any]:
    """What a file says.

    Args:
        what: it is, in messages: "recipe".
        name: of a file in `folder`, or a path that ends in .toml.
        folder: of the package.

    Raises:
        UnknownNameError: no such name; the message offers the nearest.
        UsageError: a file that cannot be read, or is not TOML.
    """
    if name.endswith(".toml"):
        try:
            text = Path(name).read_text("utf-8-sig")  # some editors mark it
        except OSError as error:
            raise UsageError(f"{what} {name!r} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"{what} {name!r} is not UTF-8, as TOML is; save it anew") from error
    else:
        if name not in names_in(folder):
            raise UnknownNameError(what, name, names_in(folder))
        text = (folder / f"{name}.toml").read_text("utf-8")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number or a nesting that is too long, too
        raise UsageError(f"{what} {name!r} is not TOML: {first_line(error)}") from error
