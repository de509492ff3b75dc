"""Plain data, as JSON and TOML hold it, as frozen dataclasses: no key unknown, no type wrong.

The annotations of a dataclass are the rule. They may be `str`, `int`, `float`, `bool`, `Any`,
`Literal`, lists, tuples, dictionaries, other dataclasses, `X | None`, a union of those without
parts, and one of dataclasses whose `kind` tells them apart. What a value may be beyond its type,
`__post_init__` says.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from cfamc_zoo.errors import UnknownNameError, UsageError

T = TypeVar("T")
SHOWN = 80  # characters of a value in a message


@dataclass(frozen=True)
class Leaf:
    """A type without parts: what it is in words, and what makes it of a plain value.

    `take` raises ValueError, TypeError or OverflowError for any other value.
    """

    words: str
    take: Callable[[Any], Any]


def _exactly(kind: type) -> Callable[[Any], Any]:
    """A bool is an int to Python, and no number here."""

    def take(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError
        return value

    return take


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise TypeError
    return float(value)


LEAVES: Mapping[Any, Leaf] = {
    str: Leaf("text", _exactly(str)),
    int: Leaf("a whole number", _exactly(int)),
    float: Leaf("a number", _number),
    bool: Leaf("true or false", _exactly(bool)),
}


def read(kind: type[T], values: object, what: str, *, leaves: Mapping[Any, Leaf] = LEAVES) -> T:
    """A dataclass from plain data.

    Args:
        kind: the dataclass.
        values: what JSON or TOML hold; of a nested dataclass also the object itself.
        what: names the data in messages: "recipe".
        leaves: types without parts, where some are read otherwise.

    Raises:
        UsageError: names the key, the value and the rule, in one line.
        UnknownNameError: an unknown key, or a value that is none of a few names.
    """
    return cast(T, _Reader(kind, what, leaves).value(kind, values, ""))


def read_value(hint: Any, value: object, what: str, key: str) -> Any:
    """One value of the type `hint`, as `read` reads those of a dataclass."""
    return _Reader(None, what, LEAVES).value(hint, value, key)


@dataclass(frozen=True)
class _Reader:
    """Of one piece of data; `kind` is all of it, whose keys are offered for an unknown one."""

    kind: Any
    what: str
    leaves: Mapping[Any, Leaf]

    def value(self, hint: Any, value: object, key: str) -> Any:
        if hint is Any or (is_dataclass(value) and isinstance(value, hint)):
            return value
        if hint in self.leaves:
            leaf = self.leaves[hint]
            try:
                return leaf.take(value)
            except (TypeError, ValueError, OverflowError) as error:
                raise self.wrong(key, value, leaf.words) from error
        if is_dataclass(hint):
            return self.read_object(hint, value, key)
        origin = get_origin(hint) or hint
        return SHAPES[origin](self, get_args(hint), value, key)

    def read_object(self, kind: Any, value: object, key: str) -> Any:
        table = self.read_table((), value, key)
        prefix = f"{key}." if key else ""
        known = _fields(kind)
        for name in table:
            if name not in known:
                keys = _all_keys(self.kind or kind)
                raise UnknownNameError(f"{self.what} key", _short(prefix + name), keys)
        missing = [prefix + n for n, (_, needed) in known.items() if needed and n not in table]
        if missing:
            raise UsageError(f"{self.what} lacks {', '.join(missing)}; it must have all of them")
        values = {n: self.value(known[n][0], v, prefix + n) for n, v in table.items()}
        try:
            return kind(**values)
        except UsageError as error:
            if not key:
                raise
            raise UsageError(f"{self.what} key {key}: {error}") from error

    def read_table(self, parts: tuple[Any, ...], value: object, key: str) -> dict[str, Any]:
        if not isinstance(value, dict) or not all(type(name) is str for name in value):
            raise self.wrong(key, value, "a table of keys")
        if len(parts) < 2 or parts[1] is Any:
            return value
        return {n: self.value(parts[1], v, f"{key}[{_short(repr(n))}]") for n, v in value.items()}

    def read_list(self, parts: tuple[Any, ...], value: object, key: str) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise self.wrong(key, value, "a list")
        part = parts[0] if parts else Any
        return [self.value(part, item, f"{key}[{i}]") for i, item in enumerate(value)]

    def read_tuple(self, parts: tuple[Any, ...], value: object, key: str) -> tuple[Any, ...]:
        if len(parts) == 2 and parts[1] is Ellipsis:
            return tuple(self.read_list(parts[:1], value, key))
        if not isinstance(value, list | tuple) or len(value) != len(parts):
            numbers = " numbers" if set(parts) == {float} else ""
            raise self.wrong(key, value, f"a list of {len(parts)}{numbers}")
        return tuple(
            self.value(part, item, f"{key}[{i}]")
            for i, (part, item) in enumerate(zip(parts, value, strict=True))
        )

    def read_name(self, parts: tuple[Any, ...], value: object, key: str) -> Any:
        if not isinstance(value, str) or value not in parts:
            raise UnknownNameError(key or self.what, _short(str(value)), map(str, parts))
        return value

    def read_union(self, parts: tuple[Any, ...], value: object, key: str) -> Any:
        if value is None and types.NoneType in parts:
            return None
        kinds = [part for part in parts if part is not types.NoneType]
        if len(kinds) == 1:
            return self.value(kinds[0], value, key)
        if all(kind in self.leaves for kind in kinds):
            return self.read_leaf(kinds, value, key)
        variants: dict[str, Any] = {kind.kind: kind for kind in kinds}
        kind = value.get("kind") if isinstance(value, dict) else None
        if kind is None:
            raise self.wrong(key, value, "a table with a kind")
        if not isinstance(kind, str) or kind not in variants:
            raise UnknownNameError(f"{key}.kind", _short(str(kind)), variants)
        return self.read_object(variants[kind], value, key)

    def read_leaf(self, kinds: list[Any], value: object, key: str) -> Any:
        """What the first of the types takes that takes it."""
        for kind in kinds:
            try:
                return self.leaves[kind].take(value)
            except (TypeError, ValueError, OverflowError):
                continue
        raise self.wrong(key, value, " or ".join(self.leaves[kind].words for kind in kinds))

    def wrong(self, key: str, value: object, rule: str) -> UsageError:
        where = f"{self.what} key {key}" if key else self.what
        return UsageError(f"{where} is {_short(repr(value))}; it must be {rule}")


SHAPES: Mapping[Any, Callable[[_Reader, tuple[Any, ...], object, str], Any]] = {
    dict: _Reader.read_table,
    Mapping: _Reader.read_table,
    list: _Reader.read_list,
    tuple: _Reader.read_tuple,
    Literal: _Reader.read_name,
    Union: _Reader.read_union,
    types.UnionType: _Reader.read_union,
}


@cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Names to types, and whether there is no default."""
    hints = get_type_hints(kind)
    return {
        f.name: (hints[f.name], f.default is MISSING and f.default_factory is MISSING)
        for f in fields(kind)
    }


@cache
def _all_keys(kind: Any, prefix: str = "") -> tuple[str, ...]:
    """Every key with its path, those of nested dataclasses too."""
    keys: list[str] = []
    for name, (hint, _) in _fields(kind).items():
        parts: list[Any] = [p for p in (hint, *get_args(hint)) if is_dataclass(p)]
        nested = [key for part in parts for key in _all_keys(part, f"{prefix}{name}.")]
        keys += nested or [prefix + name]
    return tuple(sorted(set(keys)))


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
