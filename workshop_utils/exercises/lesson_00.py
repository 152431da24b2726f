"""Checks of lesson 00."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workshop_utils.exercises.judging import Exercise, Wrong, expect_type


def check_unsupported_numbers(attempt: Callable[..., Any]) -> None:
    cases: list[tuple[str, list[str], list[str], str]] = [
        ("You have 20 days.", ["Employees have 6 training days."], ["20"], "missed"),
        ("You have 6 days.", ["Employees have 6 training days."], [], "supported"),
        ("It takes 4 hours.", ["It takes 14 hours."], ["4"], "part_of_number"),
        ("The limit is 2.5 ml.", ["The limit is 2 ml for 5 hours."], ["2.5"], "split_number"),
        ("The budget is 1,240 euros.", ["1,240 euros for developers"], [], "supported"),
        ("Form 9, then form 3.", ["Form 3 is used."], ["9"], "other_passage"),
        ("First 8, then 3, then 8 again.", ["Nothing here."], ["8", "3"], "repeats"),
        ("It is 31, as said.", ["first passage", "the 31st"], [], "other_passage"),
    ]
    for answer, passages, expected, mistake in cases:
        found = attempt(answer, passages)
        expect_type(found, list)
        if found == expected:
            continue
        if sorted(set(found)) == sorted(expected) and len(found) > len(expected):
            raise Wrong("repeats", answer=answer, found=found)
        if sorted(found) == sorted(expected):
            raise Wrong("order", answer=answer, expected=expected, found=found)
        raise Wrong(mistake, answer=answer, passages=passages, expected=expected, found=found)


def check_source_list(attempt: Callable[..., Any]) -> None:
    titles = {"HR-06": "Training budget", "IT-02": "Remote access", "CB-2024-06": "Velotrine"}
    ids = ["IT-02#03", "HR-06#12", "IT-02#00", "CB-2024-06#10"]
    expected = [
        "IT-02 (passages 3, 0): Remote access",
        "HR-06 (passage 12): Training budget",
        "CB-2024-06 (passage 10): Velotrine",
    ]
    found = attempt(ids, titles)
    expect_type(found, list)
    if found == expected:
        if attempt([], titles) != []:
            raise Wrong("empty")
        return
    if len(found) == len(ids):
        raise Wrong("repeated_document", found=found)
    if sorted(map(str, found)) == sorted(expected):
        raise Wrong("order", expected=expected, found=found)
    if any("03" in str(line) for line in found):
        raise Wrong("leading_zero", found=found[0])
    if any("(passages 12)" in str(line) for line in found):
        raise Wrong("plural", found=found)
    raise Wrong("form", expected=expected[0], found=found[0] if found else found)


def check_speeds(attempt: Callable[..., Any]) -> None:
    # asked at 10 s, first piece at 12 s, then a piece every half second
    asked_at, arrivals = 10.0, [12.0, 12.5, 13.0, 13.5, 14.0]
    found = attempt(asked_at, arrivals)
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise Wrong("two_numbers", found=found)
    first, rate = (round(float(number), 6) for number in found)
    if first == 12.0:
        raise Wrong("clock_time", found=first)
    if first != 2.0:
        raise Wrong("first", expected=2.0, found=first)
    if rate == 2.5:
        raise Wrong("fence_post", found=rate)
    if rate in (1.25, 1.0):
        raise Wrong("with_waiting", found=rate)
    if rate == 0.5:
        raise Wrong("inverted", found=rate)
    if rate != 2.0:
        raise Wrong("rate", expected=2.0, found=rate)


EXERCISES = (
    Exercise("unsupported_numbers", check_unsupported_numbers),
    Exercise("source_list", check_source_list),
    Exercise("speeds", check_speeds),
)
