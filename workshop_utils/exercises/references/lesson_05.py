# ruff: noqa
# fmt: off
# mypy: disable-error-code="no-any-return"
"""Reference answers: generated from lessons/05_lora_from_scratch.py by `workshop build`; do not edit."""

import torch
import copy
import math
from torch import nn


def training_bytes(total: int, trained: int) -> int:
    """Bytes for weights, gradients and Adam, all in float32 (4 bytes a number).

    total: weights of the model; trained: how many of them are trained. The others need no gradient and no Adam.
    """
    return 4 * total + 4 * trained + 8 * trained


class LoraLinear(nn.Module):
    """A linear layer that is frozen, plus an update of low rank that is trained: base(x) + alpha / rank * B A x."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        # make self.A (rank, in_features), self.B (out_features, rank), both nn.Parameter, and self.scale;
        # nn.init.kaiming_uniform_(tensor, a=math.sqrt(5)) fills a tensor as nn.Linear does
        start = nn.init.kaiming_uniform_(torch.empty(rank, base.in_features), a=math.sqrt(5))
        self.A = nn.Parameter(start)
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scale = alpha / rank

    def delta(self) -> torch.Tensor:
        """The update as one matrix, (out_features, in_features), scale included."""
        return self.scale * (self.B @ self.A)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_features) to (..., out_features). Never builds the large matrix: first A, then B."""
        return self.base(x) + self.scale * (x @ self.A.T @ self.B.T)


def lora_parameters(shapes: list[tuple[int, int]], rank: int, layers: int) -> int:
    """How many numbers LoRA trains.

    shapes: (out_features, in_features) of the adapted matrices of one layer; layers: how many layers are adapted.
    """
    return layers * sum(rank * (rows + columns) for rows, columns in shapes)


def merge(layer: LoraLinear) -> nn.Linear:
    """A plain linear layer with the update inside its weight; `layer` and `layer.base` stay as they are."""
    merged = copy.deepcopy(layer.base)
    merged.weight.data += layer.delta().detach()
    return merged
