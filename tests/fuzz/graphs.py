"""ONNX graphs that point elsewhere, do something else, or ask for far too much."""

from __future__ import annotations

import random
from collections.abc import Callable

import onnx
from onnx import ModelProto, TensorProto, helper

from tests.fuzz.damage import damage_bytes

LOCATIONS = (
    "/etc/passwd", "../outside/model.safetensors", "./model.safetensors", "model.safetensors/",
    "sub/../model.safetensors", "", "config.json", "weights", "file:///etc/passwd", "\x00",
    "projector.safetensors", "a\nb",
)  # fmt: skip
NUMBERS = ("0", "-1", "8", "1", "9223372036854775807", "9223372036854775808", "x", "", "1e3", " 8")
INTEGERS = (0, 1, -1, 2, 3, 7, 64, 1000, 100_000, 2**31 - 1, 2**31, 2**40, 2**62, -(2**63))
OPERATORS = (
    "Add", "MatMul", "Expand", "ConstantOfShape", "RandomNormal", "Range", "Tile", "Pad", "Loop",
    "If", "Scan", "Resize", "Reshape", "Cast", "Shape", "Conv", "Gemm", "Nope", "", "Identity",
    "OneHot", "MaxPool", "ReduceMean", "Relu",
)  # fmt: skip


def damage_graph(content: bytes, draw: random.Random) -> bytes:
    """One thing of the graph changed, or bytes of it."""
    if draw.random() < 0.3:
        return damage_bytes(content, draw)
    try:
        model = onnx.load_model_from_string(content)
        draw.choice(CHANGES)(model, draw)
        return model.SerializeToString()
    except Exception:  # protobuf refuses what an earlier damage left, or the change itself
        return damage_bytes(content, draw)


def _external(model: ModelProto, draw: random.Random) -> None:
    entry = draw.choice(draw.choice(model.graph.initializer).external_data)
    entry.value = draw.choice(LOCATIONS if entry.key == "location" else NUMBERS)


def _external_keys(model: ModelProto, draw: random.Random) -> None:
    tensor = draw.choice(model.graph.initializer)
    if draw.random() < 0.5:
        del tensor.external_data[draw.randrange(len(tensor.external_data))]
    else:
        key = draw.choice(("location", "offset", "length", "checksum", "basepath", ""))
        tensor.external_data.add(key=key, value=draw.choice(LOCATIONS + NUMBERS))


def _initializer(model: ModelProto, draw: random.Random) -> None:
    tensors = model.graph.initializer
    tensor = draw.choice(tensors)
    action = draw.choice(("type", "dims", "name", "twice", "drop", "inline", "rank"))
    if action == "type":
        tensor.data_type = draw.randrange(-1, 30)
    elif action == "dims":
        tensor.dims[draw.randrange(len(tensor.dims))] = draw.choice(INTEGERS)
    elif action == "rank":
        tensor.dims.append(draw.choice(INTEGERS))
    elif action == "name":
        tensor.name = draw.choice((draw.choice(tensors).name, "", "images", tensor.name[:-8]))
    elif action == "twice":
        tensors.add().CopyFrom(tensor)
    elif action == "drop":
        tensors.remove(tensor)
    else:
        tensor.data_location = TensorProto.DEFAULT
        tensor.raw_data = bytes(draw.choice((0, 1, 4, 100)))


def _constant(model: ModelProto, draw: random.Random) -> None:
    """Shapes are constants of the graph: other numbers, and tensors that lie elsewhere."""
    node = draw.choice([n for n in model.graph.node if n.op_type == "Constant"])
    tensor = node.attribute[0].t
    if draw.random() < 0.5:
        values = [draw.choice(INTEGERS) for _ in range(draw.choice((1, 1, 2, 4)))]
        tensor.CopyFrom(helper.make_tensor("", TensorProto.INT64, [len(values)], values))
    elif draw.random() < 0.5:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=draw.choice(LOCATIONS))
    else:
        tensor.dims.append(draw.choice(INTEGERS))


def _attribute(model: ModelProto, draw: random.Random) -> None:
    node = draw.choice([n for n in model.graph.node if n.attribute])
    attribute = draw.choice(node.attribute)
    action = draw.choice(("ints", "ints", "i", "type", "name", "drop", "f"))
    if action == "ints" and attribute.ints:
        attribute.ints[draw.randrange(len(attribute.ints))] = draw.choice(INTEGERS)
    elif action == "i":
        attribute.i = draw.choice(INTEGERS)
    elif action == "f":
        attribute.f = draw.choice((0.0, -1.0, float("nan"), 1e38))
    elif action == "name":
        attribute.name = draw.choice(("pads", "group", "axis", "to", "value", ""))
    elif action == "type":
        attribute.type = draw.randrange(15)
    else:
        node.attribute.remove(attribute)


def _node(model: ModelProto, draw: random.Random) -> None:
    nodes = model.graph.node
    node, other = draw.choice(nodes), draw.choice(nodes)
    action = draw.choice(
        (
            "op",
            "op",
            "domain",
            "input",
            "output",
            "drop",
            "twice",
            "cycle",
            "more",
        )
    )
    if action == "op":
        node.op_type = draw.choice(OPERATORS)
    elif action == "domain":
        node.domain = draw.choice(("com.microsoft", "ai.onnx.ml", "x", "\x00"))
    elif action == "input" and node.input:
        node.input[draw.randrange(len(node.input))] = draw.choice(
            (*other.output, "", "images", "?")
        )
    elif action == "output":
        node.output[0] = draw.choice((other.output[0], "", "images"))
    elif action == "drop":
        nodes.remove(node)
    elif action == "twice":
        nodes.add().CopyFrom(node)
    elif action == "cycle" and node.input:
        node.input[0] = node.output[0]
    else:
        node.input.extend(["images"] * draw.choice((1, 100)))


def _bomb(model: ModelProto, draw: random.Random) -> None:
    """A few bytes of graph that ask for a lot of memory or time."""
    size = draw.choice((10**4, 10**6, 10**10))
    nodes = model.graph.node
    shape = helper.make_tensor("s", TensorProto.INT64, [2], [size, size])
    kind = draw.choice(("fill", "expand", "tile", "loop"))
    nodes.append(helper.make_node("Constant", [], ["bomb_shape"], value=shape))
    if kind == "fill":
        nodes.append(helper.make_node("ConstantOfShape", ["bomb_shape"], ["bomb"]))
    elif kind == "expand":
        one = helper.make_tensor("o", TensorProto.FLOAT, [1, 1], [1.0])
        nodes.append(helper.make_node("Constant", [], ["bomb_one"], value=one))
        nodes.append(helper.make_node("Expand", ["bomb_one", "bomb_shape"], ["bomb"]))
    elif kind == "tile":
        nodes.append(helper.make_node("Tile", ["backbone", "bomb_shape"], ["bomb"]))
    else:
        body = helper.make_graph(
            [helper.make_node("Identity", ["c"], ["d"])],
            "body",
            [helper.make_tensor_value_info(n, t, []) for n, t in (("i", 7), ("c", 9))],
            [helper.make_tensor_value_info("d", 9, [])],
        )
        count = helper.make_tensor("n", TensorProto.INT64, [], [2**62])
        go = helper.make_tensor("g", TensorProto.BOOL, [], [True])
        nodes.append(helper.make_node("Constant", [], ["bomb_n"], value=count))
        nodes.append(helper.make_node("Constant", [], ["bomb_go"], value=go))
        nodes.append(helper.make_node("Loop", ["bomb_n", "bomb_go"], [], body=body))
        return
    nodes.append(helper.make_node("ReduceMax", ["bomb"], ["bomb_out"], keepdims=0))
    last = next(n for n in nodes if "backbone" in n.output)
    last.output[0] = "backbone_before"
    nodes.append(helper.make_node("Add", ["backbone_before", "bomb_out"], ["backbone"]))


def _model(model: ModelProto, draw: random.Random) -> None:
    graph = model.graph
    action = draw.choice(
        (
            "opset",
            "ir",
            "in",
            "out",
            "shape",
            "kind",
            "sparse",
            "function",
            "info",
        )
    )
    if action == "opset":
        model.opset_import[0].version = draw.choice(INTEGERS)
    elif action == "ir":
        model.ir_version = draw.choice(INTEGERS)
    elif action == "in":
        graph.input[0].name = draw.choice(("x", "", "backbone"))
    elif action == "out":
        graph.output[0].name = draw.choice(("x", "", "images", "representation"))
    elif action == "shape":
        value = draw.choice((*graph.input, *graph.output, *graph.value_info))
        draw.choice(value.type.tensor_type.shape.dim).dim_value = draw.choice(INTEGERS)
    elif action == "kind":
        value = draw.choice((*graph.input, *graph.output, *graph.value_info))
        value.type.tensor_type.elem_type = draw.randrange(-1, 30)
    elif action == "sparse":
        sparse = graph.sparse_initializer.add(dims=[draw.choice(INTEGERS)])
        sparse.values.CopyFrom(helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0]))
        sparse.indices.CopyFrom(helper.make_tensor("", TensorProto.INT64, [1], [2**40]))
    elif action == "function":
        node = draw.choice(graph.node)
        opsets = [helper.make_opsetid("", 20)]
        function = helper.make_function("", node.op_type, ["a"], ["b"], [], opsets)
        model.functions.append(function)
    else:
        graph.value_info.add().CopyFrom(draw.choice(graph.value_info))


CHANGES: tuple[Callable[[ModelProto, random.Random], None], ...] = (
    _external, _external, _external_keys, _initializer, _initializer, _constant, _attribute,
    _attribute, _node, _node, _bomb, _model,
)  # fmt: skip
