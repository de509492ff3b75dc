"""A release in ONNX Runtime: verified bytes in, features out, no torch.

Both export (to check what it wrote) and embedding use it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from cfamc_zoo.errors import ReleaseError, UsageError, first_line
from cfamc_zoo.zoo.cores import usable_cores
from cfamc_zoo.zoo.graph_check import check_graph_is_an_encoder
from cfamc_zoo.zoo.nvidia import PROVIDER, onnx_remedy
from cfamc_zoo.zoo.onnx_folding import fold_batch_norms, nodes_for
from cfamc_zoo.zoo.onnx_runtime import make_session
from cfamc_zoo.zoo.weights import GRAPH, MODEL, Release

WEIGHTS = "weights"  # where the graph says that they are; they come from memory
PIECE = 1 << 16  # values


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
    ONNX Runtime from folding BatchNorm (a third slower). So they are widened and folded here,
    once, and the casts are taken out. All weights come from memory, after their digests were
    checked.

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


def prepare(release: Release, feature: str) -> tuple[bytes, dict[str, np.ndarray]]:
    """The graph of one feature over float32 external data, and that data by name.

    Raises:
        ReleaseError, UsageError: as `open_session`.
    """
    from onnx import TensorProto

    where = f"{GRAPH} of {release.config.name!r}"
    with ThreadPoolExecutor(1) as pool:
        content = pool.submit(release.read, MODEL)  # most of it is a digest, which is no Python
        model = _graph(release, feature)
        nodes = nodes_for(model.graph, feature)
        tensors = read_safetensors(content.result(), str(release.folder / MODEL))
    graph = model.graph
    needed = {name for node in nodes for name in node.input}
    casts = {n.input[0]: n.output[0] for n in nodes if n.op_type == "Cast"}
    inline, weights, widened = [], {}, set()
    for initializer in graph.initializer:
        if initializer.name not in needed:
            continue
        if initializer.data_location != TensorProto.EXTERNAL:
            inline.append(initializer)
            continue
        name = initializer.name.removesuffix(".float16")
        data = _in_its_place(initializer, name, tensors, where)
        if data.dtype == np.float16:
            if casts.get(initializer.name) != name:
                raise ReleaseError(f"{where} does not cast {name!r}")
            widened.add(initializer.name)
            data = _float32(data)
        weights[name] = data
    nodes = [n for n in nodes if not (n.op_type == "Cast" and n.input[0] in widened)]
    nodes = fold_batch_norms(nodes, weights)
    _rewrite(graph, feature, nodes, inline, weights)
    return model.SerializeToString(), weights


def _rewrite(
    graph: Any, feature: str, nodes: list[Any], inline: list[Any], weights: dict[str, np.ndarray]
) -> None:
    """The graph with these nodes and initializers alone; the weights come from memory."""
    from onnx import TensorProto, helper

    output = next(output for output in graph.output if output.name == feature)
    del graph.node[:], graph.initializer[:], graph.value_info[:], graph.output[:]
    graph.output.append(output)
    graph.node.extend(nodes)
    graph.initializer.extend(inline)
    for name, data in weights.items():
        kind = helper.np_dtype_to_tensor_dtype(data.dtype)
        tensor = graph.initializer.add(name=name, dims=data.shape, data_type=kind)
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=WEIGHTS)


def _graph(release: Release, feature: str) -> Any:
    """The onnx.ModelProto, which has the feature."""
    import onnx

    content = release.read(GRAPH)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's DecodeError, by whichever protobuf is installed
        raise ReleaseError(
            f"{GRAPH} of {release.config.name!r} is not ONNX: {first_line(error)}"
        ) from error
    check_graph_is_an_encoder(model, release.config, f"{GRAPH} of {release.config.name!r}")
    outputs = [output.name for output in model.graph.output]
    if feature not in outputs:
        raise UsageError(
            f"feature {feature!r} is not in {GRAPH}, which gives {', '.join(outputs)}; the "
            "projection needs --backend torch and a release with projector.safetensors"
        )
    return model


def _in_its_place(
    initializer: Any, name: str, tensors: Mapping[str, StoredTensor], where: str
) -> np.ndarray:
    """The tensor that an external initializer means, if it is the one of its own name."""
    from onnx import helper

    place = {entry.key: entry.value for entry in initializer.external_data}
    stored = tensors.get(name)
    if place.get("location") != MODEL or stored is None:
        raise ReleaseError(
            f"{where} reads {initializer.name!r} from {place.get('location')!r}; weights may come "
            f"from {MODEL} only"
        )
    if str(stored.begin) != place.get("offset") or list(initializer.dims) != stored.shape:
        raise ReleaseError(
            f"{where} reads {name!r} from another place than where {MODEL} has it; export or pull "
            "it again"
        )
    if initializer.data_type != helper.np_dtype_to_tensor_dtype(stored.array.dtype):
        raise ReleaseError(
            f"{where} takes {name!r} for another type than {stored.array.dtype}; export or pull "
            "it again"
        )
    return stored.array


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
        header = json.loads(content[8 : 8 + length])  # the library has checked it
        return {
            name: StoredTensor(array, 8 + length + header[name]["data_offsets"][0], [*array.shape])
            for name, array in arrays.items()
        }
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ReleaseError(
            f"{where!r} is not safetensors: {first_line(error)}; pull it again"
        ) from error
