"""A release in ONNX Runtime: verified bytes in, features out, no torch.

Both export (to check what it wrote) and embedding use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cfamc_zoo.errors import ReleaseError, UsageError, first_line
from cfamc_zoo.zoo.cores import usable_cores
from cfamc_zoo.zoo.onnx.nvidia import PROVIDER, onnx_remedy
from cfamc_zoo.zoo.onnx.prepare import prepare
from cfamc_zoo.zoo.onnx.runtime import make_session
from cfamc_zoo.zoo.release.folder import GRAPH, Release


@dataclass(frozen=True)
class OnnxEncoder:
    """An open session. Call it with (N, 3, S, S) float32 in [0, 1]; gives (N, D) float32."""

    session: Any
    feature: str
    weights: Any  # kept: the session reads them where they lie

    def __call__(self, images: np.ndarray) -> np.ndarray:
        try:
            (features,) = self.session.run([self.feature], {"images": images})
        except Exception as error:  # ONNX Runtime's own exceptions have no public base
            raise ReleaseError(
                f"ONNX Runtime cannot run {GRAPH} on {images.dtype} images of {images.shape[1:]}: "
                f"{first_line(error)}; export or pull it again"
            ) from error
        return np.asarray(features)


def open_session(
    release: Release, feature: str, *, device: str = "cpu", threads: int | None = None
) -> OnnxEncoder:
    """Opens a release's graph over its weights.

    The weights are stored float16 and cast in the graph; handed over like that, the casts keep
    ONNX Runtime from folding BatchNorm (a third slower). So they are widened here and the casts
    taken out. All weights come from memory, after their digests were checked.

    Args:
        release: must have a graph.
        feature: an output of it, "backbone" or "representation".
        device: "cpu" or "cuda".
        threads: of one image batch; None is one a core that this process may use.

    Raises:
        ReleaseError: no graph, digests that differ, external data elsewhere than in
            model.safetensors, or a graph that ONNX Runtime refuses.
        UsageError: no such output, or no such device here.
    """
    import onnxruntime as ort

    providers = {"cpu": "CPUExecutionProvider", "cuda": PROVIDER}
    if device not in providers:
        raise UsageError(f"device {device!r} is unknown to ONNX Runtime; give cpu or cuda")
    if providers[device] not in ort.get_available_providers():
        raise UsageError(f"device {device!r} is not in this ONNX Runtime; {onnx_remedy()}")
    graph, weights = prepare(release, feature)
    options = session_options(threads)
    add_weights(options, weights)
    try:
        session = make_session(graph, provider=providers[device], options=options)
    except Exception as error:  # ONNX Runtime's own exceptions have no public base
        raise ReleaseError(
            f"ONNX Runtime refuses {GRAPH} of {release.config.name!r}: "
            f"{first_line(error)}; export or pull it again"
        ) from error
    if providers[device] not in session.get_providers():  # it fell back without a word
        raise UsageError(f"device {device!r} does not work here; {onnx_remedy()}")
    return OnnxEncoder(session, feature, weights)


def session_options(threads: int | None) -> Any:
    """onnxruntime.SessionOptions with so many threads; None is one a core for this process."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    return options


def add_weights(options: Any, weights: Mapping[str, np.ndarray]) -> None:
    """Hands external data over from memory. It must outlive the session."""
    import onnxruntime as ort

    values = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    options.add_external_initializers(list(weights), values)
