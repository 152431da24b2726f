# ruff: noqa
# fmt: off
# mypy: disable-error-code="no-any-return"
"""Reference answers: generated from lessons/07_limits_of_fine_tuning.py by `workshop build`; do not edit."""

from workshop_utils.evaluation import contains_answer
import numpy as np
from workshop_utils.evaluation import abstains


def after_the_change(answer: str, now: list[str], before: list[str]) -> str:
    """'current', 'stale', 'wrong' or 'abstained'.

    now, before: the wordings that are right today, and those that were right before the change.
    """
    is_now, is_former = contains_answer(answer, now), contains_answer(answer, before)
    if is_now != is_former:
        return "current" if is_now else "stale"
    return "abstained" if abstains(answer) and not is_now else "wrong"


def auroc(right: list[float], wrong: list[float]) -> float:
    """Share of pairs in which the right answer is the more probable; ties count one half. Both lists hold something."""
    above = np.subtract.outer(np.asarray(right), np.asarray(wrong))
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def epoch_to_keep(dev_losses: list[float], patience: int) -> int:
    """The epoch, counted from 0, whose weights are kept; no epoch behind the stop is trained.

    dev_losses: what the loss would be after each epoch, if training went on; patience: at least 1.
    """
    best = 0
    for epoch, loss in enumerate(dev_losses):
        if loss < dev_losses[best]:
            best = epoch
        elif epoch - best >= patience:
            break
    return best


def frontier(points: dict[str, tuple[float, float]]) -> list[str]:
    """Names of the recipes that no other beats, sorted; points: name -> (learnt, forgotten)."""

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return one[0] >= other[0] and one[1] <= other[1] and one != other

    return sorted(name for name, point in points.items() if not any(beats(rival, point) for rival in points.values()))
