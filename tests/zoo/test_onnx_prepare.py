"""What is left of a graph for one of its outputs."""

import pytest
from onnx import TensorProto, helper

from cfamc_zoo.zoo.catalogue.resolve import resolve
from cfamc_zoo.zoo.onnx.prepare import nodes_for, prepare


def test_only_what_the_output_needs_is_kept():
    nodes = [
        helper.make_node("Relu", ["x"], ["first"]),
        helper.make_node("Sqrt", ["first"], ["second"]),
        helper.make_node("Neg", ["x"], ["dead"]),
    ]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", 3))
    graph = helper.make_graph(nodes, "test", [value], [])
    assert [n.op_type for n in nodes_for(graph, "first")] == ["Relu"]
    assert [n.op_type for n in nodes_for(graph, "second")] == ["Relu", "Sqrt"]


@pytest.mark.parametrize("feature", ["backbone", "representation"])
def test_no_cast_is_left_that_would_keep_batchnorm_from_being_folded(tiny_release, feature):
    import onnx

    content, weights = prepare(resolve(str(tiny_release)), feature)
    kinds = [node.op_type for node in onnx.load_from_string(content).graph.node]
    assert "Cast" not in kinds and "BatchNormalization" in kinds
    assert {value.dtype.name for value in weights.values()} <= {"float32", "int64"}
