"""How an adapter is trained: which layers, how large, how fast."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from workshop_utils.errors import InputError

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
LINEAR = (*ATTENTION, *MLP)
FORBIDDEN = {"lm_head", "embed_tokens"}


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        upper_layers: how many layers, counted from the top, get an adapter; None for all.
        rank: of the low-rank update (Hu et al., 2021, arXiv:2106.09685); alpha is twice the rank.
        targets: names of the linear layers that get one.
        learning_rate: at its peak; it rises over the first steps and falls to zero on a cosine.
        batch_size: examples computed at once.
        accumulate: batches a step: as many times ``batch_size`` examples count in it, in no more memory.
        warmup_share: of the steps, in which the rate rises.
        dev_every: steps between two development losses; None measures one after each epoch.
        patience: development losses without a better one after which training stops, and the best weights are kept;
            None trains to the end and keeps the last.
    """

    upper_layers: int | None = 15
    rank: int = 8
    targets: tuple[str, ...] = LINEAR
    learning_rate: float = 1e-3
    epochs: float = 2.0
    batch_size: int = 8
    accumulate: int = 1
    warmup_share: float = 0.05
    patience: int | None = None
    seed: int = 0
    dev_every: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(self.targets))
        if FORBIDDEN & set(self.targets):
            raise InputError(
                f"targets may not hold {' or '.join(sorted(FORBIDDEN))}: the model has one matrix for both, and an "
                f"adapter on one would not follow the other. Choose from {', '.join(LINEAR)}."
            )
        for name in ("rank", "batch_size", "accumulate", "learning_rate", "epochs"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)} and must be more than 0.")

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "targets": list(self.targets)}
