"""The keys of a recipe and what each means, which the comments beside dataclass fields say."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from cfamc_zoo.training.recipe import Recipe


@dataclass(frozen=True)
class Key:
    """One thing that a recipe decides.

    Attributes:
        key: dotted, as `--set` takes it.
        value: as TOML writes it.
        meaning: a sentence or less.
    """

    key: str
    value: str
    meaning: str


def keys_of(recipe: Recipe) -> list[Key]:
    """Every key of a recipe, tables after plain values as in TOML, without name, title, source."""
    found = [key for key in _keys(recipe, "") if key.key not in ("name", "title", "source")]
    return sorted(found, key=lambda key: "." in key.key)


def _keys(part: Any, prefix: str) -> Iterator[Key]:
    meanings = {name: text for base in reversed(type(part).__mro__) for name, text in _of(base)}
    for field in fields(part):
        value = getattr(part, field.name)
        if is_dataclass(value):
            yield from _keys(value, f"{prefix}{field.name}.")
        else:
            yield Key(f"{prefix}{field.name}", _toml(value), meanings.get(field.name, ""))


def _of(kind: type) -> list[tuple[str, str]]:
    """Names of a dataclass's own fields, and the comments beside or right above them."""
    if not is_dataclass(kind):
        return []
    source = textwrap.dedent(inspect.getsource(kind))
    lines = source.splitlines()
    (body,) = (node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    return [
        (node.target.id, _comment(lines, node.lineno - 1, node.end_lineno or node.lineno))
        for node in body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]


def _comment(lines: list[str], first: int, end: int) -> str:
    """What stands after a statement's last line, else above its first."""
    _, mark, beside = lines[end - 1].partition("  # ")
    if mark:
        return beside.strip()
    above: list[str] = []
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
        above.insert(0, lines[first].strip().removeprefix("#").strip())
    return " ".join(above)


def _toml(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else f"{value}"
