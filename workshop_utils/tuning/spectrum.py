"""How much of an update of the weights a low rank holds: its singular values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workshop_utils.tuning.settings import ATTENTION, MLP

# a module of a Llama layer, by its short name
BLOCKS = dict.fromkeys(ATTENTION, "self_attn") | dict.fromkeys(MLP, "mlp")


@dataclass(frozen=True)
class Spectrum:
    """Singular values of a matrix, largest first."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, matrix: Any) -> Spectrum:
        """By singular value decomposition.

        Args:
            matrix: anything that numpy reads as numbers, shape (out, in).
        """
        return cls(tuple(np.linalg.svd(np.asarray(matrix, dtype=np.float64), compute_uv=False).tolist()))

    def energy(self, rank: int) -> float:
        """The share of the squared singular values in the first ``rank``.

        It is what the best matrix of that rank holds of this one's squared entries (Eckart and Young, 1936). A matrix
        of zeros has none: 0.
        """
        squares = np.square(self.values)
        return float(squares[:rank].sum() / squares.sum()) if squares.sum() else 0.0


@dataclass(frozen=True)
class Update:
    """What training added to one matrix: W after minus W before, float64, shape (out, in)."""

    layer: int
    module: str
    before: np.ndarray[Any, np.dtype[np.float64]]
    delta: np.ndarray[Any, np.dtype[np.float64]]

    @property
    def size(self) -> float:
        """The update's Frobenius norm beside that of the weights before."""
        return float(np.linalg.norm(self.delta) / np.linalg.norm(self.before))


def updates(before: Path, after: Path, layers: Iterable[int], modules: Iterable[str]) -> list[Update]:
    """Of some matrices of a Llama that was trained whole.

    Args:
        before, after: folders in Hugging Face form, each with one ``model.safetensors``.

    Raises:
        FileNotFoundError: a folder has no such file.
        safetensors.SafetensorError: a file lacks a matrix.
    """
    from safetensors import safe_open

    wanted = [(layer, module) for layer in layers for module in modules]
    with (
        safe_open(before / "model.safetensors", framework="pt") as old,
        safe_open(after / "model.safetensors", framework="pt") as new,
    ):
        found = []
        for layer, module in wanted:
            name = f"model.layers.{layer}.{BLOCKS[module]}.{module}.weight"
            was, now = (file.get_tensor(name).double().numpy() for file in (old, new))
            found.append(Update(layer, module, was, now - was))
    return found


def stored_dtype(folder: Path) -> str:
    """The precision of a model's file: what it rounds away is missing from an update, or noise in it."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return str(file.get_tensor("model.norm.weight").dtype).removeprefix("torch.")
