"""LoRA's layers in fewer passes over memory, for training on a CPU.

PEFT multiplies a layer's update by its scale and adds it to what the frozen weight gave: two passes over an output far
wider than the rank, and as many on the way back. Here the thin product adds to the wide one where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch


@contextmanager
def lean_layers(model: Any) -> Iterator[None]:
    """Within the block LoRA's layers compute as ``LoraProduct`` does, if the model computes on a CPU."""
    from peft.tuners.lora.layer import Linear

    layers: list[Any] = []
    if model.device.type == "cpu":
        layers = [layer for layer in model.modules() if isinstance(layer, Linear) and _is_plain(layer)]
    for layer in layers:
        layer.forward = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


class LoraProduct(torch.autograd.Function):
    """x W^T + scale (x A^T) B^T with W frozen (Hu et al., 2021, arXiv:2106.09685)."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """(..., in) to (..., out), for ``weight`` (out, in), ``a`` (rank, in) and ``b`` (out, rank)."""
        flat = x.reshape(-1, x.shape[-1])
        inner = flat @ a.T
        output = (flat @ weight.T).addmm_(inner, b.T, alpha=scale)
        ctx.save_for_backward(flat, weight, a, b, inner)
        ctx.scale = scale
        return output.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        flat, weight, a, b, inner = ctx.saved_tensors
        wide = upstream.reshape(-1, upstream.shape[-1])
        to_inner = (wide @ b).mul_(ctx.scale)
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = (wide @ weight).addmm_(to_inner, a).view(*upstream.shape[:-1], -1)
        # the product is faster lying than standing
        return to_x, None, to_inner.T @ flat, (inner.T @ wide).mul_(ctx.scale).T, None


def _is_plain(layer: Any) -> bool:
    """Whether the layer is a frozen linear one without bias, with one LoRA adapter beside it and nothing else."""
    base = layer.get_base_layer()
    (adapter,) = layer.active_adapters if len(layer.active_adapters) == 1 else ("",)
    return (
        type(base) is torch.nn.Linear
        and base.bias is None
        and not base.weight.requires_grad
        and adapter in layer.lora_A
        and adapter not in layer.lora_variant
        and isinstance(layer.lora_dropout[adapter], torch.nn.Identity)
        and layer.lora_A[adapter].weight.dtype == base.weight.dtype
        and not layer.merged
    )


def _forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    (adapter,) = layer.active_adapters
    a, b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    found: torch.Tensor = LoraProduct.apply(x, layer.get_base_layer().weight, a, b, layer.scaling[adapter])  # type: ignore[no-untyped-call]
    return found
