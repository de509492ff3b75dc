"""JSON that parses and is not what was meant, and JSON that should not be parsed."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.fuzz.damage import damage_bytes

DEEP: Any = []
for _ in range(400):
    DEEP = [DEEP]

JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 0.5, -0.0, 1e-320, 1e308, 2**31, 2**63, 2**64, 10**30,
    10**400, float("nan"), float("inf"), float("-inf"), "", "x", "x" * 100_000, "0", "1", "-1",
    "nan", "../../etc/passwd", "/etc/passwd", "model.safetensors", "..", "\x00", "a\nb", "\ud800",
    "\u202e", "8/0", "linf", "backbone", [], {}, [[]], [0], [0, 0, 0], [1, 2, 3], [None] * 3,
    ["a"] * 1000, {"a": 1}, {"": None}, {"norm": "linf"}, {"norm": [], "eps": {}}, DEEP,
    {"name": {"name": DEEP}}, "9" * 5000, [float("nan")] * 3, ["\ud800"], {"\ud800": 1},
)  # fmt: skip

BOMBS = (
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"[" * 900 + b"]" * 900,
    b"1" * 5000,
    b'"' + b"a" * (3 << 20) + b'"',
    b"[" + b"0," * (1 << 20) + b"0]",
    b"",
    b"null",
    b"[]",
    b"{}",
    b"NaN",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b'{"a": 1, "a": 2}',
)


def damage_json(content: bytes, draw: random.Random) -> bytes:
    """Mostly one value of it changed; sometimes the text, or all of it."""
    action = draw.random()
    if action < 0.06:
        return draw.choice(BOMBS)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return damage_bytes(content, draw)
    if action < 0.14:
        return _say_twice(content.decode(errors="replace"), draw).encode(errors="replace")
    if action < 0.2:
        return damage_bytes(content, draw)
    try:
        return json.dumps(damage_value(value, draw)).encode()
    except RecursionError:
        return content[:-1]


def damage_value(value: Any, draw: random.Random) -> Any:
    """The value with something in it replaced, removed, added, renamed or moved."""
    if not isinstance(value, dict | list) or not value or draw.random() < 0.1:
        return draw.choice(JUNK)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = draw.choice(keys)
    action = draw.random()
    if action < 0.55 and isinstance(value[key], dict | list):
        value[key] = damage_value(value[key], draw)
    elif action < 0.7:
        value[key] = draw.choice(JUNK)
    elif action < 0.78:
        del value[key]
    elif action < 0.86 and isinstance(value, dict):
        value[draw.choice(("", "extra", "../../x", "/x", "\ud800", "a\nb", "__class__"))] = (
            value.pop(key) if draw.random() < 0.5 else draw.choice(JUNK)
        )
    elif action < 0.93:
        other = draw.choice(keys)
        value[key], value[other] = value[other], value[key]
    elif isinstance(value, list):
        value *= min(draw.choice((2, 3, 1000)), 10_000 // len(value) + 1)
    else:
        value[key] = value
        value = dict(value) | {key: json.loads(json.dumps({k: v for k, v in value.items() if k != key}))}  # fmt: skip # noqa: E501
    return value


def _say_twice(text: str, draw: random.Random) -> str:
    """A key of the text once more, before the others of some object."""
    keys = text.split('"')[1::2]
    openings = [i + 1 for i, c in enumerate(text) if c == "{"]
    if not keys or not openings:
        return text[1:]
    at, more = draw.choice(openings), json.dumps(draw.choice(JUNK[:40]))
    return f'{text[:at]}"{draw.choice(keys)}": {more},{text[at:]}'
