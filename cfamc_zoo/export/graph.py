"""The encoder as an ONNX graph that holds no weights: its initializers point into safetensors.

A matrix is stored once, float16, in model.safetensors; the graph reads it as external data and
casts it to float32. Only the exporter's *unoptimized* graph will do: its optimizer folds
BatchNorm into the convolutions under the same initializer names, and such a graph over the
trained weights is silently wrong.
"""

from __future__ import annotations

import io
import json

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxscript import ir, optimizer
from torch import Tensor, nn

from cfamc_zoo.errors import ReleaseError
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.onnx.exporter import to_onnx
from cfamc_zoo.zoo.release.folder import MODEL

GRAPH_LIMIT = 300_000  # bytes
STORED = {"F16": TensorProto.FLOAT16, "F32": TensorProto.FLOAT, "I64": TensorProto.INT64}


class GraphFeatures(nn.Module):
    """The features that a graph gives, all from one pass."""

    def __init__(self, encoder: Encoder):
        super().__init__()
        self.names = encoder.architecture.graph_features
        self.normalize = encoder.normalize
        for name in self.names:
            self.add_module(name, getattr(encoder, name))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = [self.normalize(images)]
        for name in self.names:
            features.append(self.get_submodule(name)(features[-1]))
        return tuple(features[1:])


def build_graph(encoder: Encoder, weights: bytes) -> bytes:
    """`model.onnx` for an encoder and the content of its model.safetensors.

    Args:
        encoder: in evaluation mode, on the CPU.
        weights: what `zoo.release.loading.save_release` wrote for it.

    Returns:
        The serialized graph: input `images` (N, 3, S, S) float32 in [0, 1]; outputs the
        architecture's `graph_features`, float32.

    Raises:
        ReleaseError: a parameter of the graph is not among the weights, or the graph is large.
    """
    size = encoder.preprocess.size
    example = torch.zeros(2, 3, size, size)
    names = encoder.architecture.graph_features
    model = to_onnx(GraphFeatures(encoder).eval(), example, names, optimize=False)
    _drop_zero_biases(model.graph)
    model = _fold_sizes(model)
    _point_into(model, weights)
    for node in model.graph.node:  # names of this machine's files, of no use to a reader
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    content = model.SerializeToString()
    if len(content) > GRAPH_LIMIT:
        raise ReleaseError(
            f"the graph has {len(content)} bytes, over {GRAPH_LIMIT}: some weights are in it"
        )
    return content


def _drop_zero_biases(graph: onnx.GraphProto) -> None:
    """Takes off the biases of zeros, computed by five nodes each, that the exporter gives to
    convolutions: a bias that is no constant keeps ONNX Runtime from folding BatchNorm."""
    made_by = {output: node for node in graph.node for output in node.output}

    def is_zero(name: str) -> bool:
        node = made_by.get(name)
        while node is not None and node.op_type in ("Expand", "CastLike", "Cast"):
            node = made_by.get(node.input[0])
        if node is None or node.op_type != "Constant":
            return False
        value = helper.get_attribute_value(node.attribute[0])
        if isinstance(value, TensorProto):
            value = numpy_helper.to_array(value)
        return not np.any(value)

    for node in graph.node:
        if node.op_type == "Conv" and len(node.input) == 3 and is_zero(node.input[2]):
            del node.input[2]
    used = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if used.intersection(node.output):
            used.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))


def _fold_sizes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same with what is known of sizes computed; no weight is touched.

    How large every tensor is then follows from the graph, as those who open it ask.
    """
    graph = ir.serde.deserialize_model(model)
    optimizer.fold_constants(
        graph,
        onnx_shape_inference=True,
        should_fold=lambda node: None if not any(map(_is_weight, node.inputs)) else False,
    )
    optimizer.remove_unused_nodes(graph)
    return ir.serde.serialize_model(graph)


def _is_weight(value: ir.Value | None) -> bool:
    return value is not None and value.is_initializer()


def _point_into(model: onnx.ModelProto, weights: bytes) -> None:
    """Replaces every float initializer's data by its place in the safetensors file."""
    length = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + length])
    casts = []
    kept = []
    for initializer in model.graph.initializer:
        entry = header.get(initializer.name)
        if entry is None:
            if int(np.prod(initializer.dims)) > 64:
                raise ReleaseError(
                    f"the graph holds {initializer.name} {tuple(initializer.dims)}, which is not "
                    f"in {MODEL}; export the encoder that these weights belong to"
                )
            kept.append(initializer)
            continue
        begin, end = entry["data_offsets"]
        external = TensorProto(
            name=initializer.name,
            dims=entry["shape"],
            data_type=STORED[entry["dtype"]],
            data_location=TensorProto.EXTERNAL,
        )
        place = (("location", MODEL), ("offset", 8 + length + begin), ("length", end - begin))
        for key, value in place:
            external.external_data.add(key=key, value=str(value))
        if external.data_type == TensorProto.FLOAT16:
            external.name = f"{initializer.name}.float16"
            casts.append(
                helper.make_node("Cast", [external.name], [initializer.name], to=TensorProto.FLOAT)
            )
        kept.append(external)
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def check_graph(graph: bytes, folder: str) -> None:
    """Runs ONNX's own checker, with shape inference, on the graph in its folder.

    Raises:
        ReleaseError: what the checker says.
    """
    try:
        onnx.checker.check_model(f"{folder}/model.onnx", full_check=True)
        onnx.shape_inference.infer_shapes(onnx.load(io.BytesIO(graph), load_external_data=False))
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ReleaseError(f"the exported graph is not valid ONNX: {error}") from error
