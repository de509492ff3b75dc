"""A release in ONNX Runtime: verified bytes in, features out, no torch.

Both export (to check what it wrote) and embedding use it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from cfamc_zoo.errors import ReleaseError, UsageError, first_line
from cfamc_zoo.zoo.graph_check import check_graph_is_an_encoder
from cfamc_zoo.zoo.plain_json import parse_json
from cfamc_zoo.zoo.weights import GRAPH, MODEL, Release

WEIGHTS = "weights"  # where the graph says that they are; they come from memory
PIECE = 1 << 16  # values


@dataclass(frozen=True)
class OnnxEncoder:
    """An open session. Call it with (N, 3, S, S) float32 in [0, 1]; gives (N, D) float32."""

    session: Any
    feature: str
    weights: Mapping[str, np.ndarray]  # kept: the session reads them where they lie

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
    ONNX Runtime from folding BatchNorm (a third slower). So they are widened once, here, and
    the casts are taken out. All weights come from memory, after their digests were checked.

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

    ort.set_default_logger_severity(4)  # errors come as exceptions; the rest is not for users
    providers = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
    if device not in providers:
        raise UsageError(f"device {device!r} is unknown to ONNX Runtime; give cpu or cuda")
    if providers[device] not in ort.get_available_providers():
        raise UsageError(
            f"device {device!r} is not in this ONNX Runtime; use cpu, or see `cfamc-zoo doctor`"
        )
    graph, weights = _widened(release, feature)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    try:
        values = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
        session = ort.InferenceSession(graph, options, providers=[providers[device]])
    except Exception as error:  # ONNX Runtime's own exceptions have no public base
        raise ReleaseError(
            f"ONNX Runtime refuses {GRAPH} of {release.config.name!r}: "
            f"{first_line(error)}; export or pull it again"
        ) from error
    if providers[device] not in session.get_providers():  # it fell back without a word
        raise UsageError(
            f"device {device!r} does not work with this ONNX Runtime; see `cfamc-zoo doctor`"
        )
    return OnnxEncoder(session, feature, weights)


def _widened(release: Release, feature: str) -> tuple[bytes, dict[str, np.ndarray]]:
    """The graph with float32 external data, and that data by the initializers' names."""
    import onnx
    from onnx import TensorProto, helper

    try:
        model = onnx.load_model_from_string(release.read(GRAPH))
    except ReleaseError:
        raise
    except Exception as error:  # protobuf's DecodeError, by whichever protobuf is installed
        raise ReleaseError(
            f"{GRAPH} of {release.config.name!r} is not ONNX: {first_line(error)}"
        ) from error
    graph = model.graph
    outputs = [output.name for output in graph.output]
    if feature not in outputs:
        raise UsageError(
            f"feature {feature!r} is not in {GRAPH}, which gives {', '.join(outputs)}; the "
            "projection needs --backend torch and a release with projector.safetensors"
        )
    tensors = read_safetensors(release.read(MODEL), str(release.folder / MODEL))
    casts = {n.input[0]: n.output[0] for n in graph.node if n.op_type == "Cast"}
    weights: dict[str, np.ndarray] = {}
    renamed = set()
    for initializer in graph.initializer:
        if initializer.data_location != TensorProto.EXTERNAL:
            continue
        place = {entry.key: entry.value for entry in initializer.external_data}
        name = initializer.name.removesuffix(".float16")
        stored = tensors.get(name)
        if place.get("location") != MODEL or stored is None:
            raise ReleaseError(
                f"{GRAPH} of {release.config.name!r} reads {initializer.name!r} from "
                f"{place.get('location')!r}; weights may come from {MODEL} only"
            )
        if str(stored.begin) != place.get("offset") or list(initializer.dims) != stored.shape:
            raise ReleaseError(
                f"{GRAPH} of {release.config.name!r} reads {name!r} from another place than "
                f"where {MODEL} has it; export or pull it again"
            )
        data = stored.array
        if initializer.data_type != helper.np_dtype_to_tensor_dtype(data.dtype):
            raise ReleaseError(
                f"{GRAPH} of {release.config.name!r} takes {name!r} for another type than "
                f"{data.dtype}; export or pull it again"
            )
        if data.dtype == np.float16:
            if casts.get(initializer.name) != name:
                raise ReleaseError(f"{GRAPH} of {release.config.name!r} does not cast {name!r}")
            renamed.add(initializer.name)
            data = _float32(data)
            initializer.name, initializer.data_type = name, TensorProto.FLOAT
        del initializer.external_data[:]
        initializer.external_data.add(key="location", value=WEIGHTS)
        weights[name] = data
    nodes = [n for n in graph.node if not (n.op_type == "Cast" and n.input[0] in renamed)]
    del graph.node[:]
    graph.node.extend(nodes)
    check_graph_is_an_encoder(model, release.config, f"{GRAPH} of {release.config.name!r}")
    return model.SerializeToString(), weights


def _float32(halves: np.ndarray) -> np.ndarray:
    """float16 to float32 by table, in pieces that fit a core's cache: thrice as fast as astype."""
    table = _table()
    wide = np.empty(halves.shape, np.float32)
    source, target = halves.view(np.uint16).ravel(), wide.ravel()
    for start in range(0, len(source), PIECE):
        piece = slice(start, start + PIECE)
        np.take(table, source[piece], out=target[piece], mode="clip")
    return wide


@cache
def _table() -> np.ndarray:
    """Every float16 by its bits, as float32."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a safetensors file: its values, and where in the file they begin."""

    array: np.ndarray
    begin: int
    shape: list[int]


def read_safetensors(content: bytes, where: str) -> dict[str, StoredTensor]:
    """Parses a safetensors file, with the reference implementation's checks.

    Raises:
        ReleaseError: not safetensors.
    """
    import safetensors
    import safetensors.numpy

    try:
        arrays = safetensors.numpy.load(content)  # checks header, offsets and sizes
        length = int.from_bytes(content[:8], "little")
        header = parse_json(content[8 : 8 + length], "its header")
        return {
            name: StoredTensor(array, 8 + length + header[name]["data_offsets"][0], [*array.shape])
            for name, array in arrays.items()
        }
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, ReleaseError) as error:
        raise ReleaseError(
            f"{where!r} is not safetensors: {first_line(error)}; pull it again"
        ) from error
