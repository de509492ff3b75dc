"""Damage that knows nothing of formats: what disks, networks and hex editors do."""

from __future__ import annotations

import pickle
import random


class Exploit:
    """Whoever unpickles this leaves a file behind."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, ("exploited", "w"))


def damage_bytes(content: bytes, draw: random.Random) -> bytes:
    """A content that differs in some bytes, in its length, or altogether."""
    changed = bytearray(content)
    # The first bytes are the header, where most of the sense is.
    reach = draw.choice((16, 200, 4000, len(content))) or 1
    at = min(draw.randrange(reach), len(content))
    length = draw.choice((1, 2, 8, 100, 4096))
    action = draw.choice(
        (
            "flip",
            "flip",
            "flip",
            "cut",
            "insert",
            "delete",
            "repeat",
            "zero",
            "pickle",
        )
    )
    if action == "flip":
        for _ in range(draw.choice((1, 1, 4, 50))):
            if changed:
                changed[draw.randrange(min(reach, len(changed)))] ^= 1 << draw.randrange(8)
    elif action == "cut":
        del changed[at:]
    elif action == "insert":
        changed[at:at] = draw.randbytes(length)
    elif action == "delete":
        del changed[at : at + length]
    elif action == "repeat":
        changed[at:at] = changed[at : at + length] * draw.choice((1, 2, 20))
    elif action == "zero":
        changed[at : at + length] = bytes(len(changed[at : at + length]))
    else:
        return pickle.dumps(Exploit())
    return bytes(changed)
