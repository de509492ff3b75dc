"""Releases that someone damaged or made up: a case is a pure function of its seed and number."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.damage import damage_bytes
from tests.fuzz.graphs import damage_graph
from tests.fuzz.plain import damage_json
from tests.fuzz.tensors import damage_metadata, damage_tensors

CONFIG, RESULTS, GRAPH = "config.json", "results.json", "model.onnx"
WEIGHTS = ("model.safetensors", "projector.safetensors", "probe.safetensors")
Files = dict[str, bytes]
Place = Callable[[Path, Path], None]  # (path in the release, folder outside) -> what is put there


@dataclass
class Mutant:
    """A release to be: contents by file name, and what is no plain file."""

    family: str
    pinned: bool  # whether its config vouches for what was changed
    files: Files
    changed: set[str]
    places: dict[str, Place] = field(default_factory=dict)

    def write(self, folder: Path, outside: Path) -> None:
        """Puts it into an empty folder."""
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        for name, place in self.places.items():
            (folder / name).unlink(missing_ok=True)
            place(folder / name, outside)


def make_mutant(files: Files, seed: int, number: int) -> Mutant:
    """Case `number` of `seed`: every other one has digests that match."""
    draw = random.Random(f"{seed}:{number}")
    family = draw.choice(list(FAMILIES))
    mutant = Mutant(family, number % 2 == 1, dict(files), set())
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        FAMILIES[family](mutant, draw)
    mutant.changed = {
        name
        for name in mutant.changed
        if mutant.files.get(name) != files.get(name) or name in mutant.places
    }
    if mutant.pinned:
        _pin(mutant)
    return mutant


def _bytes(mutant: Mutant, draw: random.Random) -> None:
    name = draw.choice(sorted(mutant.files))
    mutant.files[name] = damage_bytes(mutant.files[name], draw)
    mutant.changed.add(name)


def _config(mutant: Mutant, draw: random.Random) -> None:
    _change(mutant, CONFIG, damage_json, draw)


def _results(mutant: Mutant, draw: random.Random) -> None:
    _change(mutant, RESULTS, damage_json, draw)


def _tensors(mutant: Mutant, draw: random.Random) -> None:
    _change(mutant, draw.choice(WEIGHTS), damage_tensors, draw)


def _metadata(mutant: Mutant, draw: random.Random) -> None:
    _change(mutant, WEIGHTS[2], damage_metadata, draw)


def _graph(mutant: Mutant, draw: random.Random) -> None:
    _change(mutant, GRAPH, damage_graph, draw)


def _change(
    mutant: Mutant,
    name: str,
    damage: Callable[[bytes, random.Random], bytes],
    draw: random.Random,
) -> None:
    if name in mutant.files:
        mutant.files[name] = damage(mutant.files[name], draw)
        mutant.changed.add(name)


def _names(mutant: Mutant, draw: random.Random) -> None:
    """Files that are swapped, removed, empty, under another name, or no files at all."""
    if len(mutant.files) < 2:
        return
    a, b = draw.sample(sorted(mutant.files), 2)
    files = mutant.files
    action = draw.choice(("swap", "copy", "remove", "rename", "empty", "place", "place"))
    if action == "swap":
        files[a], files[b] = files[b], files[a]
    elif action == "copy":
        files[a] = files[b]
    elif action == "rename":
        files[b.upper()] = files.pop(a)
    elif action == "remove":
        del files[a]
    elif action == "empty":
        files[a] = b""
    else:
        mutant.places[a] = draw.choice(PLACES)
    mutant.changed |= {a, b} if action == "swap" else {a}


PLACES: tuple[Place, ...] = (
    lambda path, outside: path.symlink_to(outside / path.name),
    lambda path, outside: path.symlink_to(os.path.relpath(outside / path.name, path.parent)),
    lambda path, outside: path.symlink_to("/etc/passwd"),
    lambda path, outside: path.symlink_to("/dev/zero"),
    lambda path, outside: path.symlink_to(path.name),
    lambda path, outside: path.symlink_to("nowhere"),
    lambda path, outside: path.symlink_to(path.parent),
    lambda path, outside: path.mkdir(),
    lambda path, outside: os.mkfifo(path),
)


def _pin(mutant: Mutant) -> None:
    """Sizes and digests of what is there, where the config can still say so."""
    try:
        config = json.loads(mutant.files[CONFIG])
        files = config["files"]
        for name in mutant.changed & set(mutant.files) & set(files):
            content = mutant.files[name]
            digest = hashlib.sha256(content).hexdigest()
            files[name] = {"size": len(content), "sha256": digest}
        if mutant.changed - {CONFIG}:
            mutant.files[CONFIG] = json.dumps(config).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        pass


FAMILIES = {
    "bytes": _bytes,
    "config": _config,
    "results": _results,
    "tensors": _tensors,
    "metadata": _metadata,
    "graph": _graph,
    "names": _names,
}
