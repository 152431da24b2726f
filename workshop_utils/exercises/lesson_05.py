"""Checks of lesson 05."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workshop_utils.exercises.judging import Exercise, Wrong, expect_shape, expect_type

if TYPE_CHECKING:
    from torch import Tensor

# what is wrong, and the values of its message
Mistake = tuple[str, dict[str, Any]]
# out, in, rank, alpha, bias; a square one first: there a transposed update does not fail by its shape
LAYERS = ((6, 6, 3, 12.0, True), (5, 7, 2, 8.0, True), (4, 9, 4, 2.0, False))


def check_training_bytes(attempt: Callable[..., Any]) -> None:
    for total, trained in ((1000, 100), (1000, 1000), (1000, 0), (134_515_008, 230_400)):
        found = attempt(total, trained)
        expect_type(found, int, float)
        expected = 4 * total + 12 * trained
        if found == expected:
            continue
        told = {"total": total, "trained": trained, "found": found, "expected": expected}
        mistakes = {
            "numbers": (total + 3 * trained,),
            "as_if_all": (16 * total,),
            "gradient_for_all": (8 * total + 8 * trained,),
            "only_trained": (16 * trained, 12 * trained),
            "one_missing": (4 * total + 8 * trained, 4 * total + 4 * trained),
            "only_weights": (4 * total,),
        }
        for mistake, values in mistakes.items():
            if found in values:
                raise Wrong(mistake, **told)
        raise Wrong("values", **told)


def check_LoraLinear(attempt: Callable[..., Any]) -> None:  # noqa: N802  (named as the exercise)
    import torch

    generator = torch.Generator().manual_seed(0)
    for rows, columns, rank, alpha, bias in LAYERS:
        base = torch.nn.Linear(columns, rows, bias=bias)
        layer = attempt(base, rank, alpha)
        _raise(_mistake_at_start(layer, rows, columns, rank))
        with torch.no_grad():
            layer.A.copy_(torch.randn(rank, columns, generator=generator))
            layer.B.copy_(torch.randn(rows, rank, generator=generator))
            product = layer.B @ layer.A
        told: dict[str, Any] = {"rank": rank, "alpha": alpha, "scale": alpha / rank}
        _raise(_mistake_in_delta(layer.delta(), product, told))
        x = torch.randn(2, 3, columns, generator=generator)
        found = layer(x)
        _raise(_mistake_in_forward(found, base, x, product, told))
        found.sum().backward()
        if layer.A.grad is None or layer.B.grad is None:
            raise Wrong("no_gradient")


def _raise(mistake: Mistake | None) -> None:
    if mistake:
        key, told = mistake
        raise Wrong(key, **told)


def _mistake_at_start(layer: Any, rows: int, columns: int, rank: int) -> Mistake | None:
    """Shapes, what is trained, and that the update is zero at first and can become anything of its rank."""
    import torch

    for name, shape in (("A", (rank, columns)), ("B", (rows, rank))):
        value = getattr(layer, name, None)
        if not isinstance(value, torch.nn.Parameter):
            return "no_parameter", {"part": name}
        if tuple(value.shape) != shape:
            return "shape_of", {"part": name, "expected": shape, "found": tuple(value.shape)}
    if any(weight.requires_grad for weight in layer.base.parameters()):
        return "base_trains", {}
    a, b = layer.A.detach(), layer.B.detach()
    if (b @ a).abs().max() > 0:
        return "start", {}
    if not a.any() and not b.any():
        return "dead_start", {}
    random = a if a.any() else b
    if int(torch.linalg.matrix_rank(random)) < min(random.shape):
        return "same_rows", {"rank": rank}
    return None


def _mistake_in_delta(found: Any, product: Tensor, told: dict[str, Any]) -> Mistake | None:
    import torch

    if found is None:
        return "returned_nothing", {"name": "delta"}
    expect_type(found, torch.Tensor)
    scale = told["scale"]
    if _close(found, scale * product):
        return None
    if _close(found, scale * product.T):
        return "delta_transposed", {"expected": tuple(product.shape)}
    expect_shape(found, tuple(product.shape))
    if any(_close(found, other * product) for other in _wrong_scales(told)):
        return "scale", {"part": "delta", **told}
    return "delta", told


def _mistake_in_forward(found: Any, base: Any, x: Tensor, product: Tensor, told: dict[str, Any]) -> Mistake | None:
    import torch

    if found is None:
        return "returned_nothing", {"name": "forward"}
    expect_type(found, torch.Tensor)
    scale = told["scale"]
    of_base, change = base(x).detach(), x @ product.T
    expect_shape(found, tuple(of_base.shape))
    if _close(found, of_base + scale * change):
        return None
    mistakes = {
        "no_update": of_base,
        "no_base": scale * change,
        "scale_of_base": scale * (of_base + change),
        "bias": of_base + scale * change - (0 if base.bias is None else base.bias),
    }
    for mistake, value in mistakes.items():
        if _close(found, value):
            return mistake, told
    if any(_close(found, of_base + other * change) for other in _wrong_scales(told)):
        return "scale", {"part": "forward", **told}
    return "forward", told


def _wrong_scales(told: dict[str, Any]) -> tuple[float, ...]:
    """None, alpha alone, upside down, divided by the rank alone, applied twice."""
    scale = told["scale"]
    return 1.0, told["alpha"], 1 / scale, 1 / told["rank"], scale**2


def _close(found: Tensor, expected: Tensor) -> bool:
    import torch

    return found.shape == expected.shape and torch.allclose(found.detach(), expected.detach(), rtol=1e-4, atol=1e-5)


def check_lora_parameters(attempt: Callable[..., Any]) -> None:
    cases: tuple[tuple[list[tuple[int, int]], int, int], ...] = (
        ([(4, 4), (3, 9)], 2, 3),
        ([(5, 7)], 2, 1),
        ([(5, 7)], 2, 3),
        ([(576, 576), (192, 576)], 8, 15),
        ([(4, 4), (3, 9), (9, 3)], 1, 2),
    )
    for shapes, rank, layers in cases:
        found = attempt(shapes, rank, layers)
        expect_type(found, int, float)
        expected = layers * rank * sum(out + into for out, into in shapes)
        if found == expected:
            continue
        told = {"shapes": shapes, "rank": rank, "layers": layers, "found": found, "expected": expected}
        whole = sum(out * into for out, into in shapes)
        mistakes = {
            "whole": (layers * whole, whole, layers * rank * whole),
            "one_layer": (expected // layers,),
            "one_side": tuple(layers * rank * sum(shape[side] for shape in shapes) for side in (0, 1)),
            "no_rank": (expected // rank,),
            "one_matrix": (layers * rank * sum(shapes[0]),),
        }
        for mistake, values in mistakes.items():
            if found in values:
                raise Wrong(mistake, **told)
        raise Wrong("values", **told)


def check_merge(attempt: Callable[..., Any]) -> None:
    import torch

    from workshop_utils.exercises import registry

    generator = torch.Generator().manual_seed(0)
    lora_linear = registry.reference("LoraLinear")
    for rows, columns, rank, alpha, bias in LAYERS:
        base = torch.nn.Linear(columns, rows, bias=bias)
        layer = lora_linear(base, rank, alpha)
        with torch.no_grad():
            layer.B.copy_(torch.randn(rows, rank, generator=generator))
            weight, delta = base.weight.clone(), layer.delta().clone()
        found = attempt(layer)
        if type(found) is not torch.nn.Linear:
            raise Wrong("not_linear", found=type(found).__name__)
        if not torch.equal(base.weight, weight) or layer.base is not base:
            raise Wrong("base_changed")
        expect_shape(found.weight, (rows, columns))
        if not _same_bias(found.bias, base.bias):
            raise Wrong("bias")
        if _close(found.weight, weight + delta):
            if not torch.isfinite(layer.B).all() or not _close(layer.delta(), delta):
                raise Wrong("update_changed")
            continue
        told = {"rank": rank, "alpha": alpha, "scale": alpha / rank}
        if any(_close(found.weight, weight + delta * other / told["scale"]) for other in _wrong_scales(told)):
            raise Wrong("scale", **told)
        mistakes = {"no_update": weight, "only_update": delta, "sign": weight - delta}
        mistakes |= {"transposed": weight + delta.T} if rows == columns else {}
        for mistake, value in mistakes.items():
            if _close(found.weight, value):
                raise Wrong(mistake)
        raise Wrong("values")


def _same_bias(found: Tensor | None, expected: Tensor | None) -> bool:
    if found is None or expected is None:
        return found is expected
    return _close(found, expected)


EXERCISES = (
    Exercise("training_bytes", check_training_bytes),
    Exercise("LoraLinear", check_LoraLinear),
    Exercise("lora_parameters", check_lora_parameters),
    Exercise("merge", check_merge),
)
