"""What a training costs, by counting: parameters, bytes and floating-point operations.

N is the number of weights that stand in matrix products. A product with a weight costs two operations a token (multiply
and add), so a forward pass costs 2N, the gradient of what came in 2N again, and the gradient of the weights another 2N
(Kaplan et al., 2020, arXiv:2001.08361, section 2.1). Where weights are frozen the third part falls away: 4N in layers
with adapters, whose own products are a hundredth of that; below the lowest adapter only the forward pass is left.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workshop_utils.errors import InputError
from workshop_utils.models import device
from workshop_utils.tuning.settings import LINEAR

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
GEMM = 1536
GEMM_RUNS = 10


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama-like model, which decide what it costs.

    Attributes:
        width: of the hidden states; ``inner`` of the feed-forward part.
        heads: of the queries; ``kv_heads`` of keys and values.
        tied: whether embeddings and output layer are one matrix.
    """

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    tied: bool

    @classmethod
    def of(cls, config: Any) -> Shape:
        """From a configuration of transformers, or the dictionary in its ``config.json``."""
        values: Mapping[str, Any] = config if isinstance(config, Mapping) else config.to_dict()
        heads = values["num_attention_heads"]
        return cls(
            layers=values["num_hidden_layers"],
            width=values["hidden_size"],
            inner=values["intermediate_size"],
            heads=heads,
            kv_heads=values.get("num_key_value_heads") or heads,
            head_size=values.get("head_dim") or values["hidden_size"] // heads,
            vocabulary=values["vocab_size"],
            tied=bool(values.get("tie_word_embeddings")),
        )

    @property
    def linear(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each linear layer of one decoder layer."""
        query, key = self.heads * self.head_size, self.kv_heads * self.head_size
        return {
            "q_proj": (self.width, query),
            "k_proj": (self.width, key),
            "v_proj": (self.width, key),
            "o_proj": (query, self.width),
            "gate_proj": (self.width, self.inner),
            "up_proj": (self.width, self.inner),
            "down_proj": (self.inner, self.width),
        }

    @property
    def layer_parameters(self) -> int:
        """Weights of the linear layers of one decoder layer."""
        return sum(inputs * outputs for inputs, outputs in self.linear.values())

    @property
    def parameters(self) -> int:
        """All weights: embeddings, layers with two norms each, the last norm, the output layer unless it is tied."""
        embeddings = self.vocabulary * self.width * (1 if self.tied else 2)
        return embeddings + self.layers * (self.layer_parameters + 2 * self.width) + self.width


def lora_parameters(shape: Shape, rank: int, targets: Sequence[str] = LINEAR, upper_layers: int | None = None) -> int:
    """Weights of an adapter: each target layer of I inputs and O outputs gets A (rank x I) and B (O x rank).

    Raises:
        workshop_utils.errors.InputError: a target that such a layer does not have.
    """
    unknown = sorted(set(targets) - set(shape.linear))
    if unknown:
        raise InputError(f"There is no layer {', '.join(unknown)}; choose from {', '.join(shape.linear)}.")
    layers = min(upper_layers or shape.layers, shape.layers)
    return layers * sum(rank * sum(shape.linear[name]) for name in targets)


def training_memory(
    shape: Shape,
    *,
    rank: int | None,
    targets: Sequence[str] = LINEAR,
    upper_layers: int | None = None,
    dtype: str = "bfloat16",
) -> dict[str, int]:
    """Bytes that training holds whatever the batch; activations come on top.

    Args:
        rank: of the adapter; None when all weights are trained.
        dtype: of weights and gradients. Adam's two states are float32, and weights in a shorter precision have a
            float32 copy as well, which counts as the optimiser's.

    Returns:
        ``weights``, ``gradients``, ``optimiser``.
    """
    size = BYTES[dtype]
    extra = 0 if rank is None else lora_parameters(shape, rank, targets, upper_layers)
    trained = shape.parameters if rank is None else extra
    return {
        "weights": (shape.parameters + extra) * size,
        "gradients": trained * size,
        "optimiser": trained * (8 if size == 4 else 12),
    }


def activation_memory(
    shape: Shape, *, tokens: int, length: int, upper_layers: int | None = None, dtype: str = "bfloat16"
) -> int:
    """Bytes that ``train_adapter`` keeps of a batch between its forward and its backward pass; others need more.

    In each layer with an adapter, for each token: four vectors of the feed-forward part, three that go into linear
    layers, queries, keys and values, and the attention weights, in ``dtype``; and what goes into the two norms, in
    float32.

    Args:
        tokens: of the padded batch; ``length`` of its longest text, whose square the attention weights grow with.
    """
    heads = (shape.heads + 2 * shape.kv_heads) * shape.head_size
    values = 4 * shape.inner + 3 * shape.width + heads + shape.heads * length
    layers = min(upper_layers or shape.layers, shape.layers)
    return layers * tokens * (BYTES[dtype] * values + 2 * 4 * shape.width)


def training_flop(
    shape: Shape,
    *,
    tokens: float,
    learnt_tokens: float,
    upper_layers: int | None,
    full: bool = False,
    frozen_passes: float | None = None,
) -> float:
    """Floating-point operations that a training needs, padding, attention and the adapters' own products not counted.

    Args:
        tokens: of all epochs; ``learnt_tokens`` of them need the output layer.
        upper_layers: layers with adapters, counted from the top; None for all.
        full: all weights are trained, and upper_layers is not used.
        frozen_passes: tokens that go through the frozen layers, when what these give is kept; ``tokens`` when None.
    """
    head = shape.vocabulary * shape.width
    if full:
        return 6.0 * (shape.layers * shape.layer_parameters * tokens + head * learnt_tokens)
    tuned = min(upper_layers or shape.layers, shape.layers)
    frozen = (shape.layers - tuned) * shape.layer_parameters
    below = tokens if frozen_passes is None else frozen_passes
    return 4.0 * (tuned * shape.layer_parameters * tokens + head * learnt_tokens) + 2.0 * frozen * below


def gemm_peak(dtype: str | None = None) -> float:
    """Floating-point operations per second of a large square matrix product, the best of some runs.

    Args:
        dtype: name of a torch dtype; the one that models compute in on this machine when None.
    """
    import torch

    chosen = device.choose()
    square = torch.randn(GEMM, GEMM, device=chosen.name).to(getattr(torch, dtype or chosen.dtype))
    best = math.inf
    for _ in range(GEMM_RUNS):
        started = time.perf_counter()
        # reading a value waits for a GPU
        float((square @ square)[0, 0])
        best = min(best, time.perf_counter() - started)
    return 2 * GEMM**3 / best
