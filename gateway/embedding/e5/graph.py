"""Weights → an ONNX graph that multiplies in 8-bit integers: token vectors in, the mean of the last layer out.

Activations are quantised as they come. The two matrices of the feed-forward part see outliers of 30 times the usual
size in single tokens, so there every token is first scaled to its own largest value: this takes the mean cosine to
the 4-bit original from .997 to .9994.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from gateway.embedding.e5.weights import Floats, Weights

MICROSOFT = "com.microsoft"  # onnxruntime's own operators


def built_graph(weights: Weights) -> bytes:
    """The serialised model: input ``tokens`` (1, n, hidden) float32, output ``mean`` (1, hidden)."""
    made = _Graph(weights)
    state = made.normalised("tokens", "emb.ln", "start")
    for layer in range(weights.layers):
        state = made.encoder(state, f"l{layer}.")
    made.node("ReduceMean", [state, made.constant("rows", np.array([1], np.int64))], "mean", keepdims=0)
    shape: list[int | str | None] = [1, "n", weights.hidden]
    graph = helper.make_graph(
        made.nodes, "multilingual-e5-small",
        [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, [1, weights.hidden])],
        made.constants,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


@dataclass(slots=True)
class _Graph:
    """Nodes and constants so far; every method adds some and returns the name of what they compute."""

    weights: Weights
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def node(self, kind: str, inputs: list[str], output: str, domain: str = "", **options: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **options))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def encoder(self, state: str, layer: str) -> str:
        hidden, inner = self.weights.hidden, self.weights.inner
        joined = self.linear(state, [layer + name for name in "qkv"], hidden, layer + "qkv")
        parts = [layer + part for part in ("query", "key", "value")]
        self.nodes.append(helper.make_node("Split", [joined], parts, axis=-1, num_outputs=3))
        seen = self.node("MultiHeadAttention", parts, layer + "seen", MICROSOFT, num_heads=self.weights.heads)
        state = self.added(state, self.linear(seen, [layer + "ao"], hidden, layer + "ao"), layer + "aln")
        wide = self.linear(state, [layer + "fi"], hidden, layer + "fi", by_token=True)
        wide = self.node("Gelu", [wide], layer + "gelu", MICROSOFT)
        return self.added(state, self.linear(wide, [layer + "fo"], inner, layer + "fo", by_token=True), layer + "oln")

    def added(self, state: str, change: str, norm: str) -> str:
        return self.normalised(self.node("Add", [state, change], norm + ".sum"), norm, norm)

    def normalised(self, state: str, norm: str, output: str) -> str:
        scale, shift = (self.constant(f"{output}.{end}", self.weights.vector(f"{norm}.{end}")) for end in "wb")
        return self.node("LayerNormalization", [state, scale, shift], output, axis=-1, epsilon=self.weights.epsilon)

    def linear(self, state: str, names: list[str], width: int, output: str, *, by_token: bool = False) -> str:
        """``state`` times the matrices one below the other, plus their biases."""
        matrix = np.concatenate([self.weights.matrix(f"{name}.w", width) for name in names])
        bias = np.concatenate([self.weights.vector(f"{name}.b") for name in names])
        bytes_, steps = _quantised(matrix)
        inputs = [
            self.constant(output + ".w", np.ascontiguousarray(bytes_.T)),
            self.constant(output + ".step", steps),
            self.constant(output + ".zero", np.zeros(len(steps), np.int8)),
        ]
        biased = self.constant(output + ".b", bias)
        if not by_token:
            return self.node("DynamicQuantizeMatMul", [state, *inputs, biased], output, MICROSOFT)
        largest = self._largest(state, output)
        evened = self.node("Div", [state, largest], output + ".evened")
        product = self.node("DynamicQuantizeMatMul", [evened, *inputs], output + ".product", MICROSOFT)
        return self.node("Add", [self.node("Mul", [product, largest], output + ".scaled"), biased], output)

    def _largest(self, state: str, output: str) -> str:
        axis = self.constant(output + ".axis", np.array([-1], np.int64))
        sizes = self.node("Abs", [state], output + ".sizes")
        return self.node("ReduceMax", [sizes, axis], output + ".largest", keepdims=1)


def _quantised(matrix: Floats) -> tuple[NDArray[np.int8], Floats]:
    """Each row in 255 steps of its own size."""
    steps = np.asarray(np.abs(matrix).max(axis=1) / 127, np.float32)
    return np.rint(matrix / steps[:, None]).astype(np.int8), steps
