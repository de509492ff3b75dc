"""ONNX Runtime without its own words: what goes wrong is an exception, and nothing is printed."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import Any

from cfamc_zoo.zoo.onnx.nvidia import PROVIDER


def make_session(model: bytes, *, provider: str, options: Any = None) -> Any:
    """An onnxruntime.InferenceSession.

    Args:
        model: a serialized onnx.ModelProto.
        provider: an execution provider; ONNX Runtime may still fall back to the CPU, which
            `get_providers` of the session tells.
        options: onnxruntime.SessionOptions, if not the usual ones.

    Raises:
        Exception: what ONNX Runtime raises; its exceptions have no public base.
    """
    import onnxruntime as ort

    if provider == PROVIDER:
        with redirect_stdout(io.StringIO()):  # what it misses is said when the session is made
            ort.preload_dlls()  # torch brings them in its own packages, where nobody else looks
    ort.set_default_logger_severity(4)  # errors come as exceptions; the rest is not for users
    options = options or ort.SessionOptions()
    # Threads that wait sleep: beside other programs, those that spin take the time from the one
    # they wait for. On two busy cores a thin ResNet-18 did 470 to 540 images a second with threads
    # that spin, 790 to 1,020 with threads that sleep.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    # Without the second try of its wrapper, which prints to stdout and says nothing new.
    return ort.InferenceSession(model, options, providers=[provider], enable_fallback=False)
