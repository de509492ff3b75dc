"""What a released graph may do: its family's operators, on tensors of an encoder's size.

ONNX is a small programming language. Weights cannot execute code, and a graph must not loop for
ever, fill the memory or read files either.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from cfamc_zoo.errors import ReleaseError, first_line
from cfamc_zoo.zoo.release.config import ReleaseConfig

# Integers say how large things are: only these may make them, and from small constants.
MAKES_INTEGERS = frozenset(
    {"Concat", "Constant", "Expand", "Gather", "Identity", "Reshape", "Shape", "Slice", "Squeeze"}
)
LARGEST = 65536  # of a constant integer, and of a dimension that is not known beforehand


def check_graph_is_an_encoder(model: Any, config: ReleaseConfig, where: str) -> None:
    """Refuses a graph that is more than an encoder.

    Args:
        model: an onnx.ModelProto, with all weights as initializers.

    Raises:
        ReleaseError: an operator of another kind, data from elsewhere, or tensors out of all
            proportion to the architecture.
    """
    import onnx

    if not all(isinstance(name, str) for name in _names(model.graph)):
        raise ReleaseError(f"{where} has names that are not UTF-8; export or pull it again")
    if model.functions or model.graph.sparse_initializer or model.training_info:
        raise ReleaseError(f"{where} is more than an encoder's graph; export it again")
    for node in model.graph.node:
        if node.domain or node.op_type not in config.architecture.operators:
            raise ReleaseError(
                f"{where} has the operator {f'{node.domain}:{node.op_type}'!r}, which no encoder "
                "needs; export it again"
            )
        for attribute in node.attribute:
            _check_attribute(attribute, where)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:  # it raises its own errors, protobuf's and plain ones
        raise _refused(where, error) from error
    _check_sizes(inferred, config, where)
    _check_features(inferred, config, where)


def _names(graph: Any) -> Iterator[Any]:
    """What refers to something; protobuf gives bytes where that is not UTF-8."""
    for node in graph.node:
        yield from (*node.input, *node.output)
    for value in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
        yield value.name
    for initializer in graph.initializer:
        for entry in initializer.external_data:
            yield from (entry.key, entry.value)


def _check_attribute(attribute: Any, where: str) -> None:
    from onnx import AttributeProto, TensorProto

    plain = AttributeProto.FLOAT, AttributeProto.INT, AttributeProto.STRING
    many = AttributeProto.FLOATS, AttributeProto.INTS
    integers = [*attribute.ints]
    if attribute.type == AttributeProto.TENSOR:
        tensor = attribute.t
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise ReleaseError(f"{where} has a constant that lies elsewhere; export it again")
        if math.prod(tensor.dims) > 64 or tensor.ByteSize() > 4096:
            raise ReleaseError(f"{where} has a large constant; export it again")
        if tensor.data_type in (TensorProto.INT64, TensorProto.INT32):
            integers += _integers(tensor, where)
    elif attribute.type not in plain + many or attribute.g.node or attribute.graphs:
        raise ReleaseError(f"{where} has an attribute that no encoder needs; export it again")
    if any(abs(i) > LARGEST for i in integers):
        raise ReleaseError(f"{where} has a size over {LARGEST} in it; export it again")


def _integers(tensor: Any, where: str) -> list[int]:
    from onnx import numpy_helper

    try:
        return [int(i) for i in numpy_helper.to_array(tensor).ravel()]
    except Exception as error:  # whatever numpy says to data that do not fit their shape
        raise _refused(where, error) from error


def _check_sizes(graph: Any, config: ReleaseConfig, where: str) -> None:
    from onnx import TensorProto

    limit = config.architecture.activations * config.preprocess.size**2 + (1 << 24)
    values = {v.name: v.type.tensor_type for v in (*graph.value_info, *graph.output)}
    batch = {v.type.tensor_type.shape.dim[0].dim_param for v in graph.input if _rank(v)}
    for node in graph.node:
        for name in node.output:
            value = values.get(name)
            if value is None or not value.HasField("shape"):
                raise ReleaseError(
                    f"{where}: the size of what {node.op_type} makes is not known beforehand; "
                    "export it again"
                )
            sizes = [
                d.dim_value or (1 if d.dim_param and d.dim_param in batch else LARGEST)
                for d in value.shape.dim
            ]
            if min(sizes, default=1) < 0 or math.prod(sizes) > limit:
                raise ReleaseError(
                    f"{where}: {node.op_type} makes a tensor of {sizes} values, over {limit}; "
                    "export it again"
                )
            whole = value.elem_type in (TensorProto.INT64, TensorProto.INT32)
            if whole and node.op_type not in MAKES_INTEGERS:
                raise ReleaseError(f"{where}: {node.op_type} makes integers; export it again")


def _check_features(graph: Any, config: ReleaseConfig, where: str) -> None:
    """Outputs are as wide as what is made of them will be."""
    expected = config.architecture.dimensions
    for output in graph.output:
        sizes = [d.dim_value for d in output.type.tensor_type.shape.dim][1:]
        if output.name in expected and sizes != [expected[output.name]]:
            raise ReleaseError(
                f"{where} gives features of {sizes} as {output.name}, where the config has "
                f"{expected[output.name]}; export it again"
            )


def _rank(value: Any) -> int:
    return len(value.type.tensor_type.shape.dim)


def _refused(where: str, error: Exception) -> ReleaseError:
    return ReleaseError(
        f"{where} is not a valid graph: {first_line(error)}; export or pull it again"
    )
