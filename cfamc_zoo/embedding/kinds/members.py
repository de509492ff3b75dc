"""Which members of an archive are images, and what they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from cfamc_zoo.embedding.items import printable
from cfamc_zoo.folders import NO_SUFFIX, image_suffixes, is_passed_over, suffix_of

LINK = "link{s} in an archive"


def parts_of(member: str) -> list[str]:
    """A member's path without what would lead out of the archive."""
    return [part for part in member.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def name_of(archive: str, member: str) -> str:
    """ "shard.tar/cats/1.jpg": the archive, then the way in it."""
    return printable("/".join([archive, *parts_of(member)]))


def is_image(member: str, left_out: Counter[str]) -> bool:
    """Whether a member is one of a folder's images, by the rule of `cfamc_zoo.folders`."""
    parts = parts_of(member)
    if not parts or any(map(is_passed_over, parts)):
        return False
    suffix = suffix_of(parts[-1])
    if suffix not in image_suffixes():
        left_out[printable(suffix) or NO_SUFFIX] += 1
    return suffix in image_suffixes()


def first_suffix(name: str, suffixes: Iterable[str]) -> str | None:
    """The longest of some suffixes that a name ends in, in any case."""
    lower = name.lower()
    return max((s for s in suffixes if lower.endswith(s)), key=len, default=None)
