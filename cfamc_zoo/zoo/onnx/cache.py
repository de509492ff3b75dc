"""Graphs as ONNX Runtime optimized them for this processor, kept between runs.

To prepare and optimize a graph takes most of the time that a session needs to open, and gives the
same every time. A release's files are checked all the same; what is kept has its own sha256
beside it, and only bytes that have it are run.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np

from cfamc_zoo.zoo.onnx.prepare import prepare
from cfamc_zoo.zoo.onnx.runtime import make_session
from cfamc_zoo.zoo.onnx.session import OnnxEncoder, add_weights, open_session, session_options
from cfamc_zoo.zoo.release.folder import GRAPH, MODEL, Release

OPTIMIZED, LAID_OUT, DIGEST = "graph.onnx", "weights.bin", "sha256"
# Bytes: smaller tensors stay in the graph, where ONNX Runtime looks for axes and shapes.
SMALL = 1024
CACHES = {"darwin": ("Library", "Caches"), "win32": ("AppData", "Local")}  # below the home
NEW, LONGEST = ".new-", 3600  # a folder that is being made, and the seconds that takes at most


def open_kept_session(release: Release, feature: str, *, threads: int | None = None) -> OnnxEncoder:
    """As `open_session` on the CPU, in a fraction of its time from the second time on.

    Where nothing can be kept (no folder, a full disk, a processor that cannot be told from
    others) it is `open_session`.

    Raises:
        ReleaseError, UsageError: as `open_session`.
    """
    place = _place(release, feature)
    if place is None:
        return open_session(release, feature, threads=threads)
    if os.path.lexists(place):
        with ThreadPoolExecutor(1) as pool:  # digests are no Python: both at once
            kept = pool.submit(_read, place)
            for name in (MODEL, GRAPH):
                release.read(name)
        with suppress(Exception):  # ONNX Runtime's own exceptions have no public base
            return _start(kept.result(), feature, threads)
        _remove(place)  # damaged, or not a folder
    encoder = _optimize(release, feature, place, threads)
    return encoder or open_session(release, feature, threads=threads)


@dataclass(frozen=True)
class _Content:
    graph: bytes
    weights: bytes

    @property
    def digest(self) -> str:
        both = hashlib.sha256(self.graph)
        both.update(self.weights)
        return both.hexdigest()


def _place(release: Release, feature: str) -> Path | None:
    """The folder for one feature of one release on this machine."""
    root, processor = cache_folder(), _processor()
    if root is None or processor is None:
        return None
    import onnxruntime as ort

    made = "\0".join((release.config_sha256, feature, ort.__version__, processor))
    return root / "graphs" / hashlib.sha256(made.encode()).hexdigest()[:32]


def cache_folder() -> Path | None:
    """$CFAMC_ZOO_CACHE, else cfamc-zoo in the user's folder for caches; None without a home.

    That folder is $XDG_CACHE_HOME where it is set, else what the system's own programs use.
    """
    if own := os.environ.get("CFAMC_ZOO_CACHE"):
        return Path(own)
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches, "cfamc-zoo")
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local, "cfamc-zoo")
    try:
        return Path.home().joinpath(*CACHES.get(sys.platform, (".cache",)), "cfamc-zoo")
    except RuntimeError:
        return None


@cache
def _processor() -> str | None:
    """What ONNX Runtime lays weights out for: the instructions that this processor has."""
    try:
        first = Path("/proc/cpuinfo").read_text("utf-8").split("\n\n")[0]
    except (OSError, UnicodeDecodeError):
        return None
    lines = [line for line in first.splitlines() if line.startswith(("flags", "Features"))]
    return " ".join((platform.machine(), *lines)) if lines else None


def _content(folder: Path) -> _Content:
    return _Content((folder / OPTIMIZED).read_bytes(), (folder / LAID_OUT).read_bytes())


def _read(folder: Path) -> _Content:
    """What is there.

    Raises:
        OSError: it is not.
        ValueError: it is damaged.
    """
    content = _content(folder)
    if content.digest != (folder / DIGEST).read_text("utf-8"):
        raise ValueError(f"{folder} is damaged")
    return content


def _start(content: _Content, feature: str, threads: int | None) -> OnnxEncoder:
    import onnxruntime as ort

    options = session_options(threads)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_external_initializers_from_files_in_memory(
        [LAID_OUT], [content.weights], [len(content.weights)]
    )
    session = make_session(content.graph, provider="CPUExecutionProvider", options=options)
    return OnnxEncoder(session, feature, content)


def _optimize(
    release: Release, feature: str, place: Path, threads: int | None
) -> OnnxEncoder | None:
    """Prepares a graph, optimizes and keeps it, and opens that; None where it does not work.

    Raises:
        ReleaseError, UsageError: as `prepare`.
    """
    graph, weights = prepare(release, feature)
    image = _image(release.config.preprocess.size)
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _clear(place.parent)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=NEW) as temporary:
            folder = Path(temporary, "kept")
            folder.mkdir()
            (expected,) = _write(graph, weights, folder).run([feature], {"images": image})
            del graph, weights  # not twice in memory
            encoder = _start(_read(folder), feature, threads)
            if not np.array_equal(encoder(image), expected):  # a file cut short may open too
                return None
            with suppress(OSError):  # another process was faster
                folder.rename(place)
    except Exception:  # ONNX Runtime's own have no public base; nothing is kept then
        return None
    return encoder


def _remove(place: Path) -> None:
    """Takes away a folder, or a file or a link in its place."""
    with suppress(OSError):
        place.unlink()  # a folder refuses
    rmtree(place, ignore_errors=True)


def _clear(root: Path) -> None:
    """Takes away what processes that were killed have left."""
    for folder in root.glob(f"{NEW}*"):
        if time.time() - folder.stat().st_mtime > LONGEST:
            rmtree(folder, ignore_errors=True)


def _write(graph: bytes, weights: dict[str, np.ndarray], folder: Path) -> Any:
    """Has ONNX Runtime write what it makes of a graph, and returns its session."""
    options = session_options(None)
    options.optimized_model_filepath = str(folder / OPTIMIZED)
    settings = {"file_name": LAID_OUT, "min_size_in_bytes": str(SMALL)}
    for name, value in settings.items():
        options.add_session_config_entry(
            f"session.optimized_model_external_initializers_{name}", value
        )
    add_weights(options, weights)
    session = make_session(graph, provider="CPUExecutionProvider", options=options)
    (folder / DIGEST).write_text(_content(folder).digest, "utf-8")
    return session


def _image(side: int) -> np.ndarray:
    """(1, 3, S, S) float32 in [0, 1], no two pixels alike."""
    return np.linspace(0, 1, 3 * side * side, dtype=np.float32).reshape(1, 3, side, side)
