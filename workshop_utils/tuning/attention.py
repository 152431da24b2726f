"""Causal attention for training on a CPU: two matrix products and a softmax, over short texts.

torch's fused kernel saves memory that grows with the square of the length, which short texts do not need; on a CPU its
backward pass is several times slower than plain matrix products (docs/training.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAME = "workshop_training"


@contextmanager
def short_text_attention(model: Any) -> Iterator[None]:
    """Within the block the model attends as ``attend`` does, if it computes on a CPU and can."""
    import transformers

    before = model.config._attn_implementation
    if model.device.type != "cpu" or before not in ("sdpa", "eager"):
        yield
        return
    transformers.AttentionInterface.register(NAME, attend)
    # attend masks by itself
    transformers.AttentionMaskInterface.register(NAME, lambda *_, **__: None)
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,  # noqa: ARG001
    scaling: float,
    **_: Any,
) -> tuple[Any, None]:
    """Causal attention with grouped queries (Ainslie et al., 2023, arXiv:2305.13245), no padding mask.

    Args:
        module: the attention layer, for ``num_key_value_groups``.
        query: (batch, heads, tokens, size); ``key`` and ``value`` have (batch, heads / groups, tokens, size).

    Returns:
        (batch, tokens, heads, size), and no weights.
    """
    import torch

    batch, heads, tokens, size = query.shape
    groups = module.num_key_value_groups
    # the queries of a group see the same keys: one taller product instead of copies of the keys
    tall = (query * scaling).reshape(batch, heads // groups, groups * tokens, size)
    scores = (tall @ key.transpose(2, 3)).view(batch, heads, tokens, tokens)
    later = torch.full((tokens, tokens), -torch.inf, dtype=scores.dtype, device=scores.device).triu(1)
    weights = (scores + later).softmax(-1).view(batch, heads // groups, groups * tokens, tokens)
    output = (weights @ value).view(batch, heads, tokens, size)
    return output.transpose(1, 2).contiguous(), None
