"""From a release's files to a graph whose weights are arrays in memory; every byte is checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from cfamc_zoo.errors import ReleaseError, UsageError, first_line
from cfamc_zoo.zoo.onnx.graph_check import check_graph_is_an_encoder
from cfamc_zoo.zoo.release.folder import GRAPH, MODEL, Release

WEIGHTS = "weights"  # where the graph says that they are; they come from memory
PIECE = 1 << 16  # values


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
    _rewrite(graph, feature, nodes, inline, weights)
    return model.SerializeToString(), weights


def nodes_for(graph: Any, feature: str) -> list[Any]:
    """The nodes of an onnx.GraphProto that its output `feature` depends on, in their order."""
    needed = {feature}
    nodes = []
    for node in reversed(graph.node):
        if not needed.isdisjoint(node.output):
            nodes.append(node)
            needed.update(node.input)
    return nodes[::-1]


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
