"""What to embed: files, folders and patterns to one sorted list of paths."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cfamc_zoo.errors import DataError, UsageError
from cfamc_zoo.folders import (
    DROPPINGS,
    UNDECODABLE,
    describe,
    find_below,
    image_suffixes,
    is_text,
)


@dataclass
class Inputs:
    """Image files, each once, and what folders and patterns left out, by its reason."""

    paths: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def find_images(inputs: Sequence[str]) -> Inputs:
    """The image files that the inputs name.

    A file is taken whatever its suffix, a folder for all images below it by the rule of
    `cfamc_zoo.folders`, a pattern (`*`, `?`, `[]`, `**`) for what it matches. An existing path is
    never read as a pattern. Each file comes once; the order is by input, then by name.

    Raises:
        UsageError: a path that does not exist or cannot be written down, or a pattern that
            matches nothing.
        DataError: no images at all.
    """
    image_suffixes()  # also makes the plug-ins known by which named files are read
    found = Inputs()
    for text in inputs:
        if not is_text(text):
            raise UsageError(
                f"input {text!r} has a name in no known encoding, which no output can hold; "
                "rename it"
            )
        # os.path, since pathlib's own raise on names that are too long.
        if os.path.isdir(text):  # noqa: PTH112
            _add_folder(found, Path(text))
        elif os.path.exists(text):  # noqa: PTH110
            found.paths.append(Path(text))
        elif glob.has_magic(text):
            _add_matches(found, text)
        else:
            raise UsageError(f"input {text!r} does not exist; give files, folders or patterns")
    if not found.paths:
        said = f" ({describe(found.left_out)})" if found.left_out else ""
        raise DataError(
            f"no images in {', '.join(map(repr, inputs))}{said}; give image files, or folders "
            "that hold some"
        )
    return Inputs(list(dict.fromkeys(found.paths)), found.left_out)


def _add_folder(found: Inputs, folder: Path) -> None:
    below = find_below(folder)
    found.paths += below.paths
    found.left_out += below.left_out


def _add_matches(found: Inputs, pattern: str) -> None:
    matched = sorted(glob.glob(pattern, recursive=True))
    if not matched:
        raise UsageError(f"pattern {pattern!r} matches nothing; quote it and check the folder")
    asked_for, folders = set(Path(pattern).parts), set[Path]()
    for match in matched:
        path = Path(match)
        # `**` matches a folder and then what is in it, which the folder has brought already.
        if not folders.isdisjoint(path.parents):
            continue
        # glob itself leaves hidden names out, but where the pattern asks for them.
        if any(part.lower() in DROPPINGS for part in {*path.parts} - asked_for):
            continue
        if not is_text(match):
            found.left_out[UNDECODABLE] += 1
        elif path.is_dir():
            folders.add(path)
            _add_folder(found, path)
        else:
            found.paths.append(path)
