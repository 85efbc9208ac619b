"""A BERT encoder as an OpenVINO graph, built straight from its weights.

Knows the architecture (Devlin et al. 2019, post-norm, exact GELU) and the names that Hugging Face gives its weights.
Knows nothing about files, tokens or pooling. Building takes milliseconds and needs neither torch nor an export, so
nothing lies on the disk that could be stale or damaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = Mapping[str, NDArray[np.float32]]


def build_encoder(weights: Weights, *, layers: int, heads: int, epsilon: float = 1e-12) -> Any:
    """Return the encoder as an `openvino.Model`, for any batch size B and length T.

    Inputs, in this order: token ids, int32 (B, T), and a mask, float32 (B, T), one where there is a token and zero
    where there is padding. Output: the last hidden state, float32 (B, T, width). The graph keeps `weights` alive.
    """
    import openvino
    from openvino import opset15 as op

    width = weights["embeddings.word_embeddings.weight"].shape[1]

    def weight(name: str) -> Any:
        return openvino.op.Constant(np.ascontiguousarray(weights[name]), shared_memory=True)

    def integers(*values: int) -> Any:
        return op.constant(np.array(values, np.int64))

    def linear(x: Any, name: str) -> Any:
        return op.add(op.matmul(x, weight(f"{name}.weight"), False, True), weight(f"{name}.bias"))

    def layer_norm(x: Any, name: str) -> Any:
        normal = op.mvn(x, integers(-1), True, epsilon, "inside_sqrt")
        return op.add(op.multiply(normal, weight(f"{name}.weight")), weight(f"{name}.bias"))

    def split_heads(x: Any) -> Any:  # (B, T, width) -> (B, heads, T, width / heads)
        return op.transpose(op.reshape(x, integers(0, 0, heads, width // heads), True), integers(0, 2, 1, 3))

    def join_heads(x: Any) -> Any:  # (B, heads, T, width / heads) -> (B, T, width)
        return op.reshape(op.transpose(x, integers(0, 2, 1, 3)), integers(0, 0, width), True)

    ids = op.parameter([-1, -1], np.int32, name="ids")  # (B, T)
    mask = op.parameter([-1, -1], np.float32, name="mask")  # (B, T)
    # 1) Embeddings. Every text is segment 0, whose embedding can be added to the positions' once and for all.
    positions = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    length = op.gather(op.shape_of(ids), integers(1), op.constant(0))
    x = op.add(
        op.gather(weight("embeddings.word_embeddings.weight"), ids, op.constant(0)),
        op.slice(op.constant(positions), integers(0), length, integers(1), integers(0)),  # (T, width)
    )
    x = layer_norm(x, "embeddings.LayerNorm")  # (B, T, width)
    # 2) What attention leaves out: zero at tokens and -10,000 at padding; a larger number would not be exact in
    # every precision.
    bias = op.multiply(op.subtract(op.unsqueeze(mask, integers(1, 2)), np.float32(1)), np.float32(1e4))  # (B, 1, 1, T)
    for index in range(layers):
        # 3) Attention
        layer = f"encoder.layer.{index}"
        query, key, value = (
            split_heads(linear(x, f"{layer}.attention.self.{name}")) for name in ("query", "key", "value")
        )
        attended = join_heads(op.scaled_dot_product_attention(query, key, value, bias))  # (B, T, width)
        x = op.add(x, linear(attended, f"{layer}.attention.output.dense"))
        x = layer_norm(x, f"{layer}.attention.output.LayerNorm")
        # 4) Feed-forward
        inner = op.gelu(linear(x, f"{layer}.intermediate.dense"), "erf")  # (B, T, intermediate)
        x = layer_norm(op.add(x, linear(inner, f"{layer}.output.dense")), f"{layer}.output.LayerNorm")
    return openvino.Model([x], [ids, mask], "bert")
