"""The folded graph against the graph as it was, in ONNX Runtime."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from cfamc_zoo.zoo.onnx.folding import fold_batch_norms, nodes_for

NORM = ("gamma", "beta", "mean", "variance")


def make_weights(rng, channels, *, conv_bias):
    weights = {
        "kernel": rng.normal(size=(channels, 3, 3, 3)),
        "gamma": rng.normal(size=channels),
        "beta": rng.normal(size=channels),
        "mean": rng.normal(size=channels),
        "variance": rng.uniform(0.1, 3, channels),
    }
    if conv_bias:
        weights["bias"] = rng.normal(size=channels)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def make_graph(nodes, weights, outputs=("y",), shape=("n", 3, 6, 6)):
    return helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )


def run(graph, x, outputs=("y",)):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(list(outputs), {"x": x})


def fold(graph, weights, feature="y"):
    """The folded graph, its weights inside."""
    left = dict(weights)
    nodes = fold_batch_norms(nodes_for(graph, feature), left)
    output = next(o for o in graph.output if o.name == feature)
    folded = onnx.GraphProto()
    folded.CopyFrom(make_graph(nodes, left))
    folded.input[0].CopyFrom(graph.input[0])
    del folded.output[:]
    folded.output.append(output)
    return folded, left


@pytest.mark.parametrize("conv_bias", [False, True])
@pytest.mark.parametrize("epsilon", [None, 0.25])
def test_a_convolution_and_its_norm_become_one(conv_bias, epsilon):
    rng = np.random.default_rng(0)
    weights = make_weights(rng, 5, conv_bias=conv_bias)
    conv = ["x", "kernel", *(["bias"] if conv_bias else [])]
    given = {} if epsilon is None else {"epsilon": epsilon}
    nodes = [
        helper.make_node("Conv", conv, ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", *NORM], ["b"], **given),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    graph = make_graph(nodes, weights)
    x = rng.normal(size=(4, 3, 6, 6)).astype(np.float32)
    before = run(graph, x)[0]
    folded, left = fold(graph, weights)
    assert [n.op_type for n in folded.node] == ["Conv", "Relu"]
    assert set(left) == {"kernel", "beta"}
    np.testing.assert_allclose(run(folded, x)[0], before, rtol=1e-5, atol=1e-5)


def test_a_linear_layer_and_its_norm_become_one():
    rng = np.random.default_rng(1)
    weights = make_weights(rng, 4, conv_bias=True) | {
        "kernel": rng.normal(size=(4, 7)).astype(np.float32)
    }
    nodes = [
        helper.make_node("Gemm", ["x", "kernel", "bias"], ["c"], transB=1),
        helper.make_node("BatchNormalization", ["c", *NORM], ["y"]),
    ]
    graph = make_graph(nodes, weights, shape=("n", 7))
    x = rng.normal(size=(3, 7)).astype(np.float32)
    before = run(graph, x)[0]
    folded, _ = fold(graph, weights)
    assert [n.op_type for n in folded.node] == ["Gemm"]
    np.testing.assert_allclose(run(folded, x)[0], before, rtol=1e-5, atol=1e-5)


NORMED = helper.make_node("BatchNormalization", ["c", *NORM], ["b"])
PLAIN = helper.make_node("Conv", ["x", "kernel"], ["c"])


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        (
            [PLAIN, NORMED, helper.make_node("Add", ["b", "c"], ["y"])],
            "the convolution's own output is used too",
        ),
        (
            [
                PLAIN,
                helper.make_node("Conv", ["x", "kernel"], ["d"]),
                NORMED,
                helper.make_node("Add", ["b", "d"], ["y"]),
            ],
            "its kernel is used twice",
        ),
        (
            [
                helper.make_node("Relu", ["x"], ["c"]),
                helper.make_node("BatchNormalization", ["c", "g3", "g3", "g3", "g3"], ["y"]),
            ],
            "it follows no layer",
        ),
        (
            [
                PLAIN,
                helper.make_node(
                    "BatchNormalization", ["c", "gamma", "beta", "mean", "gamma2"], ["b"]
                ),
                helper.make_node("BatchNormalization", ["b", "g5", "g5", "g5", "gamma2"], ["y"]),
            ],
            "a statistic is shared",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_the_same_function_stays(nodes, why):
    rng = np.random.default_rng(2)
    weights = make_weights(rng, 5, conv_bias=False)
    weights |= {"g3": np.ones(3, np.float32), "g5": np.ones(5, np.float32)}
    weights["gamma2"] = np.full(5, 2, np.float32)
    graph = make_graph(nodes, weights)
    x = rng.normal(size=(2, 3, 6, 6)).astype(np.float32)
    before = run(graph, x)[0]
    kinds = [n.op_type for n in graph.node]
    folded, _ = fold(graph, weights)
    assert [n.op_type for n in folded.node] == kinds
    np.testing.assert_allclose(run(folded, x)[0], before, rtol=1e-5, atol=1e-5)


def test_only_what_the_output_needs_is_kept():
    nodes = [
        helper.make_node("Relu", ["x"], ["first"]),
        helper.make_node("Sqrt", ["first"], ["second"]),
        helper.make_node("Neg", ["x"], ["dead"]),
    ]
    graph = make_graph(nodes, {}, outputs=("first", "second", "dead"))
    assert [n.op_type for n in nodes_for(graph, "first")] == ["Relu"]
    assert [n.op_type for n in nodes_for(graph, "second")] == ["Relu", "Sqrt"]
