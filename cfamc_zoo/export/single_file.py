"""One ONNX file that holds its own weights, for tools that want one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import torch
from torch import nn

from cfamc_zoo.atomic import atomic_file
from cfamc_zoo.errors import OutputExistsError, ReleaseError
from cfamc_zoo.export.graph import GraphFeatures
from cfamc_zoo.export.parity import RELATIVE_LIMIT, Parity, compare, sized
from cfamc_zoo.zoo.onnx.exporter import INPUT, to_onnx
from cfamc_zoo.zoo.onnx.runtime import make_session
from cfamc_zoo.zoo.release.folder import Release
from cfamc_zoo.zoo.release.loading import load_encoder, load_probe

Kind = Literal["features", "classifier"]


def export_single_file(
    release: Release, path: Path, *, kind: Kind, images: np.ndarray
) -> dict[str, Any]:
    """Writes and checks a self-contained ONNX file; it appears only when every check has passed.

    Args:
        release: its float16 weights are written float32.
        path: must not exist.
        kind: "features" has the architecture's `graph_features` as outputs; "classifier" fuses
            the released head and has the output `logits`.
        images: (N, H, W, 3) uint8, to compare with torch on.

    Returns:
        By output, the largest absolute and relative difference to torch; of a classifier also
        the part of images with the same prediction.

    Raises:
        OutputExistsError: there is a file.
        ReleaseError: no head, or a check failed; nothing is left behind.
        StorageError: it cannot be written; nothing is left behind.
    """
    if path.exists():
        raise OutputExistsError(f"{str(path)!r} is already there; give another file")
    module: nn.Module
    if kind == "classifier":
        module, names = load_probe(release).eval(), ["logits"]
    else:
        module = GraphFeatures(load_encoder(release)).eval()
        names = list(release.config.architecture.graph_features)
    size = release.config.preprocess.size
    example = torch.zeros(2, 3, size, size)
    content = to_onnx(module, example, names).SerializeToString()
    checked = _check(content, module, names, sized(images, release.config.preprocess))
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
    return checked


def _check(content: bytes, module: nn.Module, names: list[str], x: np.ndarray) -> dict[str, Any]:
    """ONNX's checker, and torch's values from ONNX Runtime."""
    try:
        onnx.checker.check_model(content, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ReleaseError(f"the exported graph is not valid ONNX: {error}") from error
    session = make_session(content, provider="CPUExecutionProvider")
    found = session.run(names, {INPUT: x})
    with torch.no_grad():
        expected = module(torch.from_numpy(x))
    expected = [expected] if isinstance(expected, torch.Tensor) else expected
    checked: dict[str, Any] = {"images": len(x), "relative_limit": RELATIVE_LIMIT}
    for name, ours, theirs in zip(names, expected, found, strict=True):
        parity: Parity = compare(ours.numpy(), theirs)
        if not parity.relative <= RELATIVE_LIMIT:
            raise ReleaseError(
                f"{name} differs by {parity.relative:.1e} between torch and ONNX Runtime, over "
                f"{RELATIVE_LIMIT:g}; not written"
            )
        checked[name] = asdict(parity)
        if name == "logits":
            checked["same_predictions"] = float((ours.numpy().argmax(1) == theirs.argmax(1)).mean())
    return checked
