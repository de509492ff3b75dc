"""The part of a graph that makes one feature, with BatchNorm folded into what it follows.

ONNX Runtime folds too, when a session opens: one layer after the other, with a copy of all
weights each time. Done beforehand the session opens sooner, and what the feature does not need is
neither loaded nor computed.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np


def nodes_for(graph: Any, feature: str) -> list[Any]:
    """The nodes of an onnx.GraphProto that its output `feature` depends on, in their order."""
    needed = {feature}
    nodes = []
    for node in reversed(graph.node):
        if not needed.isdisjoint(node.output):
            nodes.append(node)
            needed.update(node.input)
    return nodes[::-1]


def fold_batch_norms(nodes: list[Any], weights: dict[str, np.ndarray]) -> list[Any]:
    """Folds each BatchNormalization into the Conv or Gemm that feeds it alone.

    y = gamma (Wx + b - mean) / sqrt(var + eps) + beta is one product, with the rows of W scaled.

    Args:
        nodes: of a graph, in order; the last makes its output. They may be changed.
        weights: float32 values of initializers by name. Changed in place; what is no longer
            named is taken out.

    Returns:
        The nodes that are left.
    """
    uses = Counter(name for node in nodes for name in node.input)
    makers = {name: node for node in nodes for name in node.output}
    left = []
    for node in nodes:
        layer = makers.get(node.input[0]) if node.op_type == "BatchNormalization" else None
        if layer is None or not _foldable(layer, node, uses, weights):
            left.append(node)
            continue
        gamma, beta, mean, variance = (weights.pop(name) for name in node.input[1:])
        factor = gamma / np.sqrt(variance + np.float32(_epsilon(node)))
        matrix = weights[layer.input[1]]
        own = matrix if matrix.flags.writeable else None
        rows = factor.reshape(-1, *[1] * (matrix.ndim - 1))
        weights[layer.input[1]] = np.multiply(matrix, rows, out=own)
        bias = weights.pop(layer.input[2]) if len(layer.input) > 2 else np.float32(0)
        weights[node.input[2]] = beta + (bias - mean) * factor  # under the name of beta
        layer.input[:] = [*layer.input[:2], node.input[2]]
        layer.output[:] = node.output
    return left


def _foldable(layer: Any, norm: Any, uses: Counter[str], weights: dict[str, np.ndarray]) -> bool:
    """Whether scaling the layer's rows is the same function, and nothing else reads them."""
    if layer.op_type == "Gemm":
        values = {"alpha": 1, "beta": 1, "transA": 0, "transB": 0}
        values |= {a.name: a.f if a.name in ("alpha", "beta") else a.i for a in layer.attribute}
        if values != {"alpha": 1, "beta": 1, "transA": 0, "transB": 1}:
            return False
    elif layer.op_type != "Conv":
        return False
    if len(layer.input) not in (2, 3) or len(norm.input) != 5 or len(norm.output) != 1:
        return False
    named = [*layer.input[1:], *norm.input[1:]]
    if any(uses[name] != 1 or name not in weights for name in named):
        return False
    channels = (len(weights[named[0]]),)
    return uses[layer.output[0]] == 1 and all(weights[n].shape == channels for n in named[1:])


def _epsilon(norm: Any) -> float:
    return next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
