"""The differences between arms that are tested, fixed before any of them was measured."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from workshop_utils.evaluation.intervals import holm, paired_difference, sign_flip_test

Role = Literal["primary", "secondary"]
METRIC = "correct"


@dataclass(frozen=True)
class Contrast:
    """Arm ``a`` minus arm ``b``, in the share of answers that are correct."""

    a: str
    b: str
    role: Role


PRIMARY = Contrast("raft_rag", "few_shot_rag", "primary")
SECONDARY = (
    Contrast("raft_rag", "reader_rag", "secondary"),
    Contrast("raft_rag", "lora_task_rag", "secondary"),
    Contrast("raft_rag", "lora_knowledge", "secondary"),
    Contrast("rag", "base", "secondary"),
)


def differences(right: Mapping[str, Sequence[bool]], families: Sequence[Hashable]) -> list[dict[str, Any]]:
    """Every contrast whose arms were asked.

    Args:
        right: by arm whether its answer is correct, of the same questions in the same order.
        families: of these questions.

    Returns:
        ``value`` with its 95% interval, of this contrast alone, and ``p`` of the sign-flip test: of the primary one as
        it is, of the secondary ones after Holm's correction for as many as there are.

    Raises:
        ValueError: no questions, or not as many answers as questions.
    """
    asked = [one for one in (PRIMARY, *SECONDARY) if one.a in right and one.b in right]
    rows: list[dict[str, Any]] = []
    for one in asked:
        pair = right[one.a], right[one.b]
        found = paired_difference(*pair, families)
        rows.append(
            {
                "a": one.a,
                "b": one.b,
                "metric": METRIC,
                "value": found.value,
                "low": found.low,
                "high": found.high,
                "p": sign_flip_test(*pair, families),
                "role": one.role,
            }
        )
    secondary = [row for row in rows if row["role"] == "secondary"]
    for row, p in zip(secondary, holm([row["p"] for row in secondary]), strict=True):
        row["p"] = p
    return rows
