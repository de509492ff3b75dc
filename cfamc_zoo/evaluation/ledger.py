"""What a measurement has found so far, verdict by verdict; on disk too, so that it can go on."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.format import write_array_header_1_0

from cfamc_zoo.atomic import atomic_file, storage_errors
from cfamc_zoo.errors import DataError, UsageError

if TYPE_CHECKING:
    from cfamc_zoo.evaluation.outputs import Outputs

UNKNOWN, FELL, STANDS = -1, 0, 1
SYMBOLS = {UNKNOWN: ".", FELL: "0", STANDS: "1"}
PAUSE = 2.0  # seconds between two writes of the file, at least


@dataclass
class Stage:
    """One attack at one radius, or the images as they are.

    Attributes:
        attack: its name; "" for the images as they are.
        eps: as it was given; "" likewise.
        verdicts: (N,) int8 of UNKNOWN, FELL and STANDS.
        tried: images that the attack was run on.
        seconds: spent on it, over all sessions.
    """

    attack: str
    eps: str
    verdicts: np.ndarray
    tried: int = 0
    seconds: float = 0.0


class Ledger:
    """Verdicts and adversarial images of one measurement.

    Args:
        n: number of images.
        adversarial: (E, N, C, H, W) float32, one part a radius, to be filled; None keeps none.
    """

    def __init__(self, n: int, *, adversarial: np.ndarray | None = None):
        self.n, self.adversarial = n, adversarial
        self.stages: dict[tuple[str, str], Stage] = {}

    def stage(self, attack: str, eps: str) -> Stage:
        """The stage of that name, new if it has not begun."""
        if (attack, eps) not in self.stages:
            verdicts = np.full(self.n, UNKNOWN, np.int8)
            self.stages[attack, eps] = Stage(attack, eps, verdicts)
        return self.stages[attack, eps]

    def record(
        self, stage: Stage, rows: np.ndarray, stands: np.ndarray, *, tried: int, seconds: float
    ) -> None:
        """Takes down (k,) verdicts, bool, of (k,) images."""
        stage.verdicts[rows] = np.where(stands, STANDS, FELL)
        stage.tried += tried
        stage.seconds += seconds

    def flush(self) -> None:
        """Whatever has been recorded is safe afterwards; in memory there is nothing to do."""


class StateFile(Ledger):
    """A ledger in the file that `--state` names, so that the same run can go on from it.

    The file is JSON, written whole or not at all; the images are in a .npy beside it.

    The file is written every few seconds and at `flush`. It starts with a key; a file with
    another key belongs to another measurement and is refused.

    Args:
        path: of the JSON file; opened where it is, else begun.
        key: what the verdicts depend on: model, data, attack, radii, seed.
        images: (N, C, H, W) float32: what the adversarial images start as.
        radii: how many.

    Raises:
        UsageError: the file is of another measurement.
        DataError: it is not a ledger, or its images are gone.
        StorageError: it cannot be written.
    """

    def __init__(self, path: Path, *, key: dict[str, Any], images: np.ndarray, radii: int):
        self.path, self.key = path, key
        self.pictures = path.with_name(path.name + ".images.npy")
        self._written = 0.0
        known = path.exists()
        stages = _read(path, key, len(images)) if known else []
        shape = (radii, *images.shape)
        if not known:
            _write_images(self.pictures, images, radii)
        with storage_errors(self.pictures):
            try:
                adversarial = np.lib.format.open_memmap(self.pictures, mode="r+")
            except (FileNotFoundError, ValueError) as error:
                raise DataError(
                    f"{str(self.pictures)!r} is missing or not an array; delete {str(path)!r} to "
                    "begin anew"
                ) from error
        if adversarial.shape != shape:
            raise DataError(
                f"{str(self.pictures)!r} has shape {adversarial.shape}, not {shape}; delete "
                f"{str(path)!r} to begin anew"
            )
        super().__init__(len(images), adversarial=adversarial)
        self.stages = {(s.attack, s.eps): s for s in stages}

    def record(
        self, stage: Stage, rows: np.ndarray, stands: np.ndarray, *, tried: int, seconds: float
    ) -> None:
        super().record(stage, rows, stands, tried=tried, seconds=seconds)
        if time.monotonic() - self._written > PAUSE:
            self.flush()

    def flush(self) -> None:
        assert isinstance(self.adversarial, np.memmap)
        with storage_errors(self.pictures):
            self.adversarial.flush()  # first: a verdict on disk has its image on disk
        stages = [
            {
                "attack": s.attack,
                "eps": s.eps,
                "verdicts": "".join(SYMBOLS[v] for v in s.verdicts.tolist()),
                "tried": s.tried,
                "seconds": round(s.seconds, 3),
            }
            for s in self.stages.values()
        ]
        with atomic_file(self.path) as path:
            path.write_text(
                json.dumps({"key": self.key, "stages": stages}, indent=1) + "\n", "utf-8"
            )
        self._written = time.monotonic()


def _write_images(path: Path, images: np.ndarray, radii: int) -> None:
    """Byte by byte: a file that only claims its size kills the process when the disk is full."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (radii, *images.shape)}
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        write_array_header_1_0(file, header)
        for _ in range(radii):
            file.write(np.ascontiguousarray(images, "<f4").data)


def _read(path: Path, key: dict[str, Any], n: int) -> list[Stage]:
    values = {symbol: value for value, symbol in SYMBOLS.items()}
    try:
        content = json.loads(path.read_text("utf-8"))
        found = content["key"]
        stages = [
            Stage(
                s["attack"],
                s["eps"],
                np.array([values[c] for c in s["verdicts"]], np.int8),
                s["tried"],
                s["seconds"],
            )
            for s in content["stages"]
        ]
        fits = all(len(s.verdicts) == n for s in stages)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{str(path)!r} is not the state of an attack: {error}; give another --state"
        ) from error
    different = [k for k in key if found.get(k) != key[k]]
    if different or not fits:
        name = different[0] if different else "number of images"
        raise UsageError(
            f"state {str(path)!r} is of another run: its {name} is {found.get(name)!r}, not "
            f"{key.get(name)!r}; give another --state or delete it"
        )
    return stages


def ledger_for(outputs: Outputs, *, key: dict[str, Any], images: np.ndarray, radii: int) -> Ledger:
    """In the state file where one is wanted; adversarial images are kept where a file needs them.

    Args:
        key: what the state must be of.
        images: (N, C, H, W) float32, the clean ones.
        radii: how many sets of adversarial images there will be.

    Raises:
        As `StateFile`.
    """
    if outputs.state is not None:
        return StateFile(outputs.state, key=key, images=images, radii=radii)
    wanted = outputs.save is not None or outputs.report is not None
    return Ledger(len(images), adversarial=images[None].repeat(radii, 0) if wanted else None)
