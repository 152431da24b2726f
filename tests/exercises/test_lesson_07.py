"""The exercises of lesson 07: blank, reference, and wrong answers with their messages."""

from __future__ import annotations

import numpy as np

from workshop_utils.authoring.proving import prove
from workshop_utils.evaluation import abstains, contains_answer, exact_match


def test_after_the_change() -> None:
    def kind(named: bool, former: bool, silent: bool) -> str:
        if named and former:
            return "wrong"
        return "current" if named else "stale" if former else "abstained" if silent else "wrong"

    def letters(answer: str, wordings: list[str]) -> bool:
        return any(wording in answer for wording in wordings)

    def first(answer: str, order: list[tuple[str, bool]]) -> str:
        return next((name for name, yes in order if yes), "abstained" if abstains(answer) else "wrong")

    def both_stale(answer: str, now: list[str], before: list[str]) -> str:
        return first(answer, [("stale", contains_answer(answer, before)), ("current", contains_answer(answer, now))])

    def both_current(answer: str, now: list[str], before: list[str]) -> str:
        return first(answer, [("current", contains_answer(answer, now)), ("stale", contains_answer(answer, before))])

    def right(answer: str, now: list[str], before: list[str]) -> str:
        return kind(contains_answer(answer, now), contains_answer(answer, before), abstains(answer))

    prove(
        "after_the_change",
        wrong={
            "no_kind": [lambda _a, _n, _b: "outdated", lambda _a, _n, _b: "Current"],
            "part_of_a_number": [lambda a, n, b: kind(letters(a, n), letters(a, b), abstains(a))],
            "whole_answer": [lambda a, n, b: kind(exact_match(a, n), exact_match(a, b), abstains(a))],
            "both_current": [both_current],
            "both_stale": [both_stale],
            "silence_first": [lambda a, n, b: "abstained" if abstains(a) else right(a, n, b)],
            "silence_is_wrong": [lambda a, n, b: kind(contains_answer(a, n), contains_answer(a, b), False)],
            "all_that_is_not_current": [lambda a, n, _b: "current" if contains_answer(a, n) else "stale"],
            "swapped": [lambda a, n, b: right(a, b, n)],
            "values": [lambda a, n, _b: "current" if contains_answer(a, n) else "wrong", lambda _a, _n, _b: "wrong"],
            "type": [lambda a, n, _b: contains_answer(a, n)],
        },
    )


def test_epoch_to_keep() -> None:
    def stop(losses: list[float], patience: int) -> tuple[int, int]:
        best = 0
        for epoch in range(1, len(losses)):
            if losses[epoch] < losses[best]:
                best = epoch
            if epoch - best == patience:
                return best, epoch
        return best, len(losses) - 1

    def later(losses: list[float], patience: int) -> int:
        best = 0
        for epoch, loss in enumerate(losses):
            if loss <= losses[best]:
                best = epoch
            elif epoch - best >= patience:
                break
        return best

    def rises(losses: list[float], patience: int) -> int:
        worse = 0
        for epoch in range(1, len(losses)):
            worse = 0 if losses[epoch] < losses[epoch - 1] else worse + 1
            if worse == patience:
                return losses.index(min(losses[: epoch + 1]))
        return losses.index(min(losses))

    prove(
        "epoch_to_keep",
        wrong={
            "whole_curve": [lambda losses, _: losses.index(min(losses))],
            "the_stop": [lambda losses, patience: stop(losses, patience)[1]],
            "last": [lambda losses, _: len(losses) - 1],
            "from_one": [lambda losses, patience: stop(losses, patience)[0] + 1],
            "no_patience": [
                lambda losses, _: next(
                    (i for i in range(len(losses) - 1) if losses[i + 1] >= losses[i]), len(losses) - 1
                )
            ],
            "too_patient": [lambda losses, patience: stop(losses, patience + 1)[0]],
            "consecutive_rises": [rises],
            "the_later_of_two": [later],
            "values": [lambda losses, _: losses.index(max(losses)), lambda _losses, patience: patience],
            "type": [lambda losses, patience: losses[stop(losses, patience)[0]]],
        },
    )


Point = tuple[float, float]


def test_frontier() -> None:
    def beats(p: Point, q: Point) -> bool:
        return p[0] >= q[0] and p[1] <= q[1] and p != q

    def kept(points: dict[str, Point]) -> list[str]:
        return sorted(n for n, p in points.items() if not any(beats(q, p) for q in points.values()))

    def no_strictness(points: dict[str, Point]) -> list[str]:
        return sorted(
            n for n, p in points.items() if not any(q[0] >= p[0] and q[1] <= p[1] for m, q in points.items() if m != n)
        )

    prove(
        "frontier",
        wrong={
            "no_recipe": [lambda points: [points[name] for name in kept(points)]],
            "not_sorted": [lambda points: sorted(kept(points), reverse=True)],
            "wrong_way": [
                lambda points: sorted(
                    n
                    for n, p in points.items()
                    if not any(q[0] >= p[0] and q[1] >= p[1] and q != p for q in points.values())
                )
            ],
            "better_in_both": [
                lambda points: sorted(
                    n for n, p in points.items() if not any(q[0] > p[0] and q[1] < p[1] for q in points.values())
                )
            ],
            "twins_lost": [no_strictness],
            "only_the_ends": [
                lambda points: sorted(
                    {max(points, key=lambda n: points[n][0]), min(points, key=lambda n: points[n][1])}
                )
            ],
            "all_beaten": [lambda points: sorted(set(points) - set(kept(points)))],
            "values": [lambda points: sorted(points), lambda points: [max(points, key=lambda n: points[n][0])]],
            "type": [lambda points: max(points, key=lambda n: points[n][0])],
        },
    )


def test_auroc() -> None:
    def pairs(right: list[float], wrong: list[float], tie: float = 0.5) -> float:
        return sum(1.0 if a > b else tie if a == b else 0.0 for a in right for b in wrong) / (len(right) * len(wrong))

    prove(
        "auroc",
        wrong={
            "other_way": [lambda right, wrong: pairs(wrong, right)],
            "ties_lost": [lambda right, wrong: pairs(right, wrong, 0.0)],
            "ties_won": [lambda right, wrong: pairs(right, wrong, 1.0)],
            "not_divided": [lambda right, wrong: pairs(right, wrong) * len(right) * len(wrong)],
            "in_order": [
                lambda right, wrong: float(
                    np.mean([(a > b) + (a == b) / 2 for a, b in zip(right, wrong, strict=False)])
                )
            ],
            "means": [lambda right, wrong: float(sum(right) / len(right) > sum(wrong) / len(wrong))],
            "values": [lambda right, wrong: float(np.mean(right) - np.mean(wrong)), lambda _right, _wrong: 0.5],
            "type": [lambda right, wrong: np.subtract.outer(right, wrong) > 0],
        },
    )
