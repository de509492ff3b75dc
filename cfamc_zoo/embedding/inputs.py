"""What to embed: files, folders and patterns to one sorted list of paths."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from cfamc_zoo.errors import DataError, UsageError

SUFFIXES = frozenset(
    (
        *(".avif", ".bmp", ".gif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"),
        *(".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
    )
)


def find_images(inputs: Sequence[str]) -> list[Path]:
    """The image files that the inputs name.

    A file is taken whatever its suffix, a folder for all images below it (links to folders are
    not followed), a pattern (`*`, `?`, `[]`, `**`) for what it matches. An existing path is
    never read as a pattern. Each file comes once; the order is by input, then by name.

    Raises:
        UsageError: a path that does not exist, or a pattern that matches nothing.
        DataError: no images at all.
    """
    found: dict[Path, None] = {}
    for text in inputs:
        path = Path(text)
        # os.path, since pathlib's own raise on names that are too long.
        if os.path.isdir(text):  # noqa: PTH112
            found |= dict.fromkeys(_below(path))
        elif os.path.exists(text):  # noqa: PTH110
            found[path] = None
        elif glob.has_magic(text):
            matched = sorted(glob.glob(text, recursive=True))
            if not matched:
                raise UsageError(f"pattern {text!r} matches nothing; quote it and check the folder")
            for match in matched:
                part = Path(match)
                found |= dict.fromkeys(_below(part) if part.is_dir() else [part])
        else:
            raise UsageError(f"input {text!r} does not exist; give files, folders or patterns")
    if not found:
        raise DataError(
            f"no images in {', '.join(map(repr, inputs))}; known suffixes: "
            f"{' '.join(sorted(SUFFIXES))}"
        )
    return list(found)


def _below(folder: Path) -> list[Path]:
    return sorted(
        Path(root, name)
        for root, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in SUFFIXES
    )
