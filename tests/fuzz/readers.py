"""All that opens a release: what each of them says of a folder."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from cfamc_zoo.cli.commands.info import info
from cfamc_zoo.errors import ZooError
from cfamc_zoo.export.card import render_release
from cfamc_zoo.zoo.onnx.session import open_session
from cfamc_zoo.zoo.release.folder import PROBE, open_release
from cfamc_zoo.zoo.release.golden import read_golden
from cfamc_zoo.zoo.release.loading import load_encoder, load_probe

IMAGES = np.zeros((1, 3, 32, 32), np.float32)


def verify(folder: Path) -> None:
    open_release(folder).verify()


def run_torch(folder: Path) -> None:
    release = open_release(folder)
    model = load_probe(release) if release.has(PROBE) else load_encoder(release)
    with torch.no_grad():
        model(torch.from_numpy(IMAGES))


def run_onnx(folder: Path) -> None:
    open_session(open_release(folder), "backbone", threads=1)(IMAGES)


def show(folder: Path) -> None:
    # As strict as a terminal or a pipe: what cannot be encoded is an error.
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(out):
        info(str(folder), json=True)
        info(str(folder))


def card(folder: Path) -> None:
    render_release(open_release(folder)).encode()


def golden(folder: Path) -> None:
    read_golden(open_release(folder))


# By name: the reader, and the files besides config.json that it reads.
READERS: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "verify": (verify, set()),
    "torch": (run_torch, {"model.safetensors", "projector.safetensors", "probe.safetensors"}),
    "onnx": (run_onnx, {"model.safetensors", "model.onnx"}),
    "info": (show, {"results.json"}),
    "card": (card, {"results.json"}),
    "golden": (golden, {"golden.json"}),
}


def concerned(changed: set[str]) -> list[str]:
    """Readers whose answer may depend on these files; the others say what they always say."""
    everything = "config.json" in changed
    return [
        name
        for name, (_, files) in READERS.items()
        if name == "verify" or everything or files & changed
    ]


def read(name: str, folder: Path) -> str:
    """ "ok", or the kind of the refusal; its message must be one line."""
    try:
        READERS[name][0](folder)
    except ZooError as error:
        if "\n" in str(error):
            raise AssertionError(f"more than a line: {error}") from error
        return type(error).__name__
    return "ok"
