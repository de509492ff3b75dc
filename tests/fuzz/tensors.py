"""Safetensors files whose header lies, or that hold other tensors than they should."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from tests.fuzz.damage import damage_bytes
from tests.fuzz.plain import JUNK, damage_json, damage_value

DTYPES = (
    "F16", "F32", "F64", "BF16", "I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64", "BOOL",
    "F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "C64", "F128", "", "f16",
)  # fmt: skip
LENGTHS = (0, 1, 8, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1)
NUMBERS = (0, 1, -1, 2, 3, 7, 64, 2**31, 2**32, 2**62, 2**63, 2**64, 10**30, 0.5, None, "1", [])
SIZES = {"F16": 2, "F32": 4, "I64": 8}


def damage_tensors(content: bytes, draw: random.Random) -> bytes:
    """A lie in the header, or a well-formed file of other tensors."""
    try:
        length = int.from_bytes(content[:8], "little")
        header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
        names = [name for name in header if name != "__metadata__"]
        return draw.choice(LIES)(header, data, draw.choice(names), draw)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return damage_bytes(content, draw)


def damage_metadata(content: bytes, draw: random.Random) -> bytes:
    """The file's own words on itself: JSON in strings in JSON."""
    try:
        length = int.from_bytes(content[:8], "little")
        header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
        metadata = header["__metadata__"]
        key = draw.choice(list(metadata))
        if draw.random() < 0.3:
            plan = {"count": 4, "scale": [0.1, 1.0], "ratio": [0.75, 1.3], "seed": 0}
            metadata["crops"] = json.dumps(damage_value(plan, draw))
        elif draw.random() < 0.6:
            text = json.dumps(metadata[key]) if key != "classes" else metadata[key]
            metadata[key] = damage_json(text.encode(), draw).decode(errors="replace")
        else:
            header["__metadata__"] = damage_value(metadata, draw)
        return pack(header, data)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return damage_bytes(content, draw)


def pack(header: Any, data: bytes) -> bytes:
    """Header and data as a file, whether they fit or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def _length(header: Any, data: bytes, name: str, draw: random.Random) -> bytes:
    content = pack(header, data)
    length = draw.choice((*LENGTHS, len(content), len(content) - 8, len(content) - 9))
    return length.to_bytes(8, "little") + content[8:]


def _offsets(header: Any, data: bytes, name: str, draw: random.Random) -> bytes:
    begin, end = header[name]["data_offsets"]
    other = draw.choice([n for n in header if n != "__metadata__"])
    header[name]["data_offsets"] = draw.choice(
        (
            header[other]["data_offsets"],
            [end, begin],
            [begin + 2, end + 2],
            [begin, len(data) + 8],
            [len(data), len(data) + end - begin],
            [draw.choice(NUMBERS), draw.choice(NUMBERS)],
            [begin],
            draw.choice(JUNK),
        )
    )
    return pack(header, data)


def _dtype(header: Any, data: bytes, name: str, draw: random.Random) -> bytes:
    header[name]["dtype"] = draw.choice(DTYPES)
    return pack(header, data)


def _shape(header: Any, data: bytes, name: str, draw: random.Random) -> bytes:
    shape = header[name]["shape"]
    if draw.random() < 0.4:
        shape = shape[::-1] if draw.random() < 0.5 else [1, *shape]
    elif shape:
        shape[draw.randrange(len(shape))] = draw.choice(NUMBERS)
    header[name]["shape"] = draw.choice((shape, shape, draw.choice(JUNK)))
    return pack(header, data)


def _rename(header: Any, data: bytes, name: str, draw: random.Random) -> bytes:
    new = draw.choice(("", "extra", "a\nb", "../x", "__metadata__", name + ".float16"))
    header[new] = header[name] if draw.random() < 0.5 else header.pop(name)
    return pack(header, data)


def _value(header: Any, data: bytes, name: str, draw: random.Random) -> bytes:
    header[name] = damage_value(header[name], draw)
    return pack(header, data)


def _text(header: Any, data: bytes, name: str, draw: random.Random) -> bytes:
    return pack(damage_json(json.dumps(header).encode(), draw), data)


def _exchange(header: Any, data: bytes, name: str, draw: random.Random) -> bytes:
    """Well-formed: one tensor of another type or shape, dropped, added or of odd values."""
    tensors = {}
    for key, entry in header.items():
        if key != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[key] = [entry["dtype"], entry["shape"], data[begin:end]]
    dtype, shape, raw = tensors[name]
    count = len(raw) // SIZES[dtype]
    action = draw.choice(("drop", "add", "wider", "bytes", "reverse", "flat", "odd", "empty"))
    if action == "drop":
        del tensors[name]
    elif action == "add":
        tensors[draw.choice(("x", "backbone.x", "a\nb", ""))] = ["F32", [1], bytes(4)]
    elif action == "wider":
        tensors[name] = [draw.choice(("F64", "I64", "U64")), shape, bytes(8 * count)]
    elif action == "bytes":
        tensors[name] = [draw.choice(("I8", "U8", "BOOL", "F8_E4M3")), shape, b"\1" * count]
    elif action == "reverse":
        tensors[name] = [dtype, shape[::-1], raw]
    elif action == "flat":
        tensors[name] = [dtype, [count], raw]
    elif action == "odd":
        tensors[name] = [dtype, shape, draw.choice((b"\xff", b"\x7f", b"\x7c\x00"[:1])) * len(raw)]
    else:
        tensors[name] = [dtype, [0, *shape[1:]], b""]
    written: dict[str, Any] = {}
    if "__metadata__" in header:
        written["__metadata__"] = header["__metadata__"]
    body = b""
    for key, (kind, sizes, content) in tensors.items():
        offsets = [len(body), len(body) + len(content)]
        written[key] = {"dtype": kind, "shape": sizes, "data_offsets": offsets}
        body += content
    return pack(written, body)


LIES: tuple[Callable[[Any, bytes, str, random.Random], bytes], ...] = (
    _length, _offsets, _offsets, _dtype, _shape, _rename, _value, _text, _exchange, _exchange,
)  # fmt: skip
