"""The exercises of lesson 05: blank, reference, and wrong answers with their messages."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from workshop_utils.authoring.proving import prove
from workshop_utils.exercises import registry


def test_training_bytes() -> None:
    prove(
        "training_bytes",
        wrong={
            "numbers": [lambda total, trained: total + 3 * trained],
            "as_if_all": [lambda total, trained: 16 * total],  # noqa: ARG005
            "gradient_for_all": [lambda total, trained: 4 * total + 4 * total + 8 * trained],
            "only_trained": [lambda total, trained: 16 * trained, lambda total, trained: 12 * trained],  # noqa: ARG005
            "one_missing": [
                lambda total, trained: 4 * total + 8 * trained,
                lambda total, trained: 4 * total + 4 * trained,
            ],
            "only_weights": [lambda total, trained: 4 * total],  # noqa: ARG005
            "values": [lambda total, trained: 2 * total + 12 * trained],
            "type": [lambda total, trained: f"{total + trained} bytes"],
        },
    )


class Lora(nn.Module):
    """A right answer, whose parts the wrong ones replace."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.rank, self.alpha = rank, alpha
        self.A = nn.Parameter(torch.randn(rank, base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))
        self.start(rank, base)

    def start(self, rank: int, base: nn.Linear) -> None:
        """For another start."""

    def scale(self) -> float:
        return self.alpha / self.rank

    def delta(self) -> Any:
        return self.scale() * self.B @ self.A

    def forward(self, x: torch.Tensor) -> Any:
        return self.base(x) + self.scale() * (x @ self.A.T @ self.B.T)


def lora(**parts: Callable[..., Any]) -> type:
    return type("LoraLinear", (Lora,), parts)


def set_a(value: Callable[[int, int], Any]) -> Callable[..., None]:
    def start(self: Any, rank: int, base: nn.Linear) -> None:
        self.A = nn.Parameter(value(rank, base.in_features))

    return start


def set_b(value: Callable[[int, int], Any]) -> Callable[..., None]:
    def start(self: Any, rank: int, base: nn.Linear) -> None:
        self.B = nn.Parameter(value(base.out_features, rank))

    return start


def no_parameter(self: Any, rank: int, base: nn.Linear) -> None:
    del self.B
    self.B = torch.zeros(base.out_features, rank)


def trains(self: Any, rank: int, base: nn.Linear) -> None:  # noqa: ARG001
    base.requires_grad_(True)


def test_lora_linear() -> None:
    prove(
        "LoraLinear",
        wrong={
            "no_parameter": [lora(start=no_parameter)],
            "shape_of": [
                lora(start=set_a(lambda rank, size: torch.randn(size, rank))),
                lora(start=set_b(lambda size, rank: torch.zeros(rank, size))),
            ],
            "base_trains": [lora(start=trains)],
            "start": [lora(start=set_b(torch.randn))],
            "dead_start": [lora(start=set_a(torch.zeros))],
            "same_rows": [lora(start=set_a(torch.ones))],
            "delta_transposed": [lora(delta=lambda self: self.scale() * self.A.T @ self.B.T)],
            "scale": [
                lora(scale=lambda _: 1.0),
                lora(scale=lambda self: self.alpha),
                lora(scale=lambda self: self.rank / self.alpha),
                lora(scale=lambda self: 1 / self.rank),
                lora(forward=lambda self, x: self.base(x) + x @ self.A.T @ self.B.T),
                lora(forward=lambda self, x: self.base(x) + self.scale() * (x @ self.delta().T)),
            ],
            "delta": [lora(delta=lambda self: self.base.weight + self.scale() * self.B @ self.A)],
            "no_update": [lora(forward=lambda self, x: self.base(x))],
            "no_base": [lora(forward=lambda self, x: x @ self.delta().T)],
            "bias": [lora(forward=lambda self, x: x @ self.base.weight.T + x @ self.delta().T)],
            "scale_of_base": [lora(forward=lambda self, x: self.scale() * (self.base(x) + x @ self.A.T @ self.B.T))],
            "forward": [lora(forward=lambda self, x: self.base(x) - x @ self.delta().T)],
            "no_gradient": [
                lora(forward=lambda self, x: (self.base(x) + x @ self.delta().T).detach().requires_grad_())
            ],
            "returned_nothing": [lora(delta=lambda _: None), lora(forward=lambda _, x: None)],  # noqa: ARG005
            "shape": [lora(forward=lambda self, x: (self.base(x) + x @ self.delta().T)[0])],
        },
    )


def test_other_right_answers() -> None:
    """Another order of the products, another start that works, and A at zero in place of B."""

    def other_start(self: Any, rank: int, base: nn.Linear) -> None:
        self.A, self.B = (
            nn.Parameter(torch.zeros(rank, base.in_features)),
            nn.Parameter(torch.randn(base.out_features, rank)),
        )

    exercise = registry.find("LoraLinear")
    for answer in (
        lora(forward=lambda self, x: self.base(x) + x @ self.delta().T),
        lora(start=set_a(lambda *shape: nn.init.kaiming_uniform_(torch.empty(*shape), a=math.sqrt(5)))),
        lora(start=other_start),
    ):
        exercise.check(answer)


def test_lora_parameters() -> None:
    prove(
        "lora_parameters",
        wrong={
            "whole": [
                lambda shapes, rank, layers: layers * sum(a * b for a, b in shapes),  # noqa: ARG005
                lambda shapes, rank, layers: layers * rank * sum(a * b for a, b in shapes),
            ],
            "one_layer": [lambda shapes, rank, layers: rank * sum(a + b for a, b in shapes)],  # noqa: ARG005
            "one_side": [
                lambda shapes, rank, layers: layers * rank * sum(a for a, _ in shapes),
                lambda shapes, rank, layers: layers * rank * sum(b for _, b in shapes),
            ],
            "no_rank": [lambda shapes, rank, layers: layers * sum(a + b for a, b in shapes)],  # noqa: ARG005
            "one_matrix": [lambda shapes, rank, layers: layers * rank * sum(shapes[0])],
            "values": [lambda shapes, rank, layers: layers * rank * rank * len(shapes)],
            "type": [lambda shapes, rank, layers: [layers * rank * (a + b) for a, b in shapes]],
        },
    )


def merged(change: Callable[[Any], Any], bias: bool = True) -> Callable[[Any], Any]:
    """A copy of the base with another weight."""

    def answer(layer: Any) -> Any:
        result = copy.deepcopy(layer.base)
        result.weight.data = change(layer).detach()
        if not bias:
            result.bias = None
        return result

    return answer


def in_place(layer: Any) -> Any:
    layer.base.weight.data += layer.delta().detach()
    return layer.base


def empties(layer: Any) -> Any:
    result = copy.deepcopy(layer.base)
    result.weight.data += layer.delta().detach()
    layer.B.data.zero_()
    return result


def test_merge() -> None:
    prove(
        "merge",
        wrong={
            "not_linear": [lambda layer: layer, lambda layer: layer.base.weight + layer.delta()],
            "base_changed": [in_place],
            "bias": [merged(lambda layer: layer.base.weight + layer.delta(), bias=False)],
            "scale": [
                merged(lambda layer: layer.base.weight + layer.B @ layer.A),
                merged(lambda layer: layer.base.weight + layer.scale * layer.delta()),
            ],
            "no_update": [lambda layer: copy.deepcopy(layer.base), lambda layer: layer.base],
            "only_update": [merged(lambda layer: layer.delta())],
            "sign": [merged(lambda layer: layer.base.weight - layer.delta())],
            "transposed": [merged(lambda layer: layer.base.weight + layer.delta().T)],
            "update_changed": [empties],
            "values": [merged(lambda layer: layer.base.weight + 1.7 * layer.delta())],
            "shape": [merged(lambda layer: (layer.base.weight + layer.delta())[:, :2])],
            "returned_nothing": [lambda _: None],
        },
    )
