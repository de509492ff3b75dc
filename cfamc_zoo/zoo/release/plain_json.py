"""JSON from strangers: one meaning, bounded depth, numbers that are numbers."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from cfamc_zoo.errors import ReleaseError

DEPTH = 32  # ours have four


def parse_json(content: bytes | str, where: str) -> Any:
    """Plain values, which can be walked, compared and written again without a surprise.

    The caller bounds the size.

    Raises:
        ReleaseError: not JSON; or nested deeper than 32, a key twice in one object, NaN or an
            infinity, an integer beyond 64 bits, or text that no encoding can write.
    """
    try:
        text = content if isinstance(content, str) else content.decode()
        value = json.loads(
            text,
            object_pairs_hook=_once,
            parse_constant=_no_number,
            parse_int=_integer,
            parse_float=_finite,
        )
        _walk(value, 0)
    except (ValueError, RecursionError) as error:
        raise ReleaseError(f"{where} is not JSON as it should be: {error}; pull again") from error
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError(f"one of {sorted(values)[:5]} is there twice")
    return values


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _integer(text: str) -> int:
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{text[:20]}... has more than 64 bits")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value


def _walk(value: Any, depth: int) -> None:
    if depth > DEPTH:
        raise ValueError(f"nested deeper than {DEPTH}")
    if isinstance(value, str):
        value.encode()  # a lone surrogate cannot be printed
    elif isinstance(value, dict):
        for key, item in value.items():
            key.encode()
            _walk(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _walk(item, depth + 1)
