"""The one way into torch's ONNX exporter: any batch size, and without a word."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import onnx

INPUT = "images"


def to_onnx(
    module: nn.Module, example: Tensor, outputs: Sequence[str], **options: Any
) -> onnx.ModelProto:
    """The module as an ONNX model with its weights inside.

    Args:
        module: in evaluation mode; takes one tensor.
        example: (2, ...) input of it.
        outputs: their names.
        options: of `torch.onnx.export`.

    Raises:
        Exception: whatever the exporter raises on a module that it cannot trace.
    """
    with warnings.catch_warnings(), _quiet("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            **options,
        )
    assert program is not None
    return program.model_proto


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Mutes loggers for the time of a block: the exporter reports each of its stages."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
