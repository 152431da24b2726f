"""Checks of lesson 06."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from workshop_utils.exercises.judging import Exercise, Wrong, expect_type

IGNORED = -100
ROW = ("input_ids", "labels")
FIELDS = ("device", "error_code", "category", "severity", "action")

Record = dict[str, Any]


def check_split_by_scenario(attempt: Callable[..., Any]) -> None:
    # scenarios of unequal size, their tickets not side by side
    scenarios = [f"S-{number}" for number in range(12) for _ in range(number % 4 + 1)]
    np.random.default_rng(3).shuffle(scenarios)
    names = set(scenarios)
    drawn = []
    for share, seed in [(0.25, 0), (0.25, 1), (0.5, 2), (0.25, 3), (0.25, 4)]:
        # twice, with the same draw
        both = [attempt(scenarios, share, np.random.default_rng(seed)) for _ in range(2)]
        for found in both:
            if not isinstance(found, tuple | list) or len(found) != 2:
                raise Wrong("two_lists", found=type(found).__name__)
        (train, held), (_, held_again) = ((list(first), list(second)) for first, second in both)
        numbers = [*train, *held]
        if strange := [n for n in numbers if not isinstance(n, int | np.integer) or not 0 <= n < len(scenarios)]:
            raise Wrong("no_indices", found=strange[0])
        if twice := [n for n, times in Counter(numbers).items() if times > 1]:
            raise Wrong("twice", ticket=int(twice[0]))
        kept, held_out = ({scenarios[n] for n in part} for part in (train, held))
        if shared := kept & held_out:
            raise Wrong("leak", scenario=min(shared), scenarios=len(shared))
        if len(numbers) < len(scenarios):
            raise Wrong("lost", lost=len(scenarios) - len(numbers), of=len(scenarios))
        expected = round(share * len(names))
        told = {"share": share, "found": len(held_out), "expected": expected, "of": len(names)}
        if len(held_out) == len(names) - expected != expected:
            raise Wrong("swapped", **told)
        if len(held_out) != expected:
            raise Wrong("number", **told)
        if {scenarios[n] for n in held_again} != held_out:
            raise Wrong("not_seeded")
        if share == 0.25:
            drawn.append(frozenset(held_out))
    if len(set(drawn)) == 1:
        raise Wrong("not_random", scenarios=", ".join(sorted(drawn[0])))


def check_training_row(attempt: Callable[..., Any]) -> None:
    end = 2
    for prompt, answer in [([11, 12, 13, 14], [21, 22]), ([1, 2, 11], [21, 22, 23, 24, 25]), ([11], [21])]:
        row = attempt(prompt, answer, end)
        expect_type(row, dict)
        if missing := [key for key in ROW if key not in row]:
            raise Wrong("keys", missing=missing[0])
        ids, labels = ([int(token) for token in row[key]] for key in ROW)
        told = {"prompt": prompt, "answer": answer, "end": end, "input_ids": ids, "labels": labels}
        whole, wanted = [*prompt, *answer, end], [IGNORED] * len(prompt) + [*answer, end]
        if (ids, labels) == (whole, wanted):
            continue
        if ids == [*prompt, *answer]:
            raise Wrong("no_end", **told)
        if ids == [*prompt, end, *answer, end]:
            raise Wrong("end_of_prompt", **told)
        if ids != whole:
            raise Wrong("input_ids", **told, expected=whole)
        if len(labels) != len(ids):
            raise Wrong("lengths", **told, tokens=len(ids), given=len(labels))
        if labels == ids:
            raise Wrong("prompt_learnt", **told)
        if labels == [*wanted[:-1], IGNORED]:
            raise Wrong("end_not_learnt", **told)
        if labels[len(prompt) :] == wanted[len(prompt) :]:
            raise Wrong("other_mask", **told, found=next(n for n in labels if n != IGNORED))
        if labels == [*prompt, *[IGNORED] * (len(answer) + 1)]:
            raise Wrong("answer_masked", **told)
        if labels in ([*wanted[1:], IGNORED], [*wanted[1:], end], [IGNORED, *wanted[:-1]]):
            raise Wrong("shifted", **told)
        raise Wrong("labels", **told, expected=wanted)


def check_valid_and_right(attempt: Callable[..., Any]) -> None:
    first: Record = dict(zip(FIELDS, ("Sorvane 4", None, "alarm", 3, "advice"), strict=True))
    second: Record = dict(zip(FIELDS, ("Tilvo S", "T-12", "power", 2, "repair"), strict=True))
    half = {**second, "category": "alarm", "severity": 4}
    cut = json.dumps(second)[:-9]
    cases: list[tuple[list[str], list[Record]]] = [
        (["no", "idea"], [first, second]),
        ([json.dumps(first), json.dumps(second)], [first, second]),
        ([json.dumps(first), json.dumps(half)], [first, second]),
        ([json.dumps(first), cut], [first, second]),
        ([json.dumps(first), "The pump is broken.", cut, json.dumps(half)], [first, first, second, second]),
        ([json.dumps({**first, "severity": "3"})], [first]),
        ([json.dumps({key: first[key] for key in FIELDS[:3]}), json.dumps(second)], [first, second]),
        (["null", "[]", "3", json.dumps(second)], [first, first, first, second]),
    ]
    for answers, gold in cases:
        told: dict[str, Any] = {"answers": [answer[:60] for answer in answers]}
        try:
            found = attempt(answers, gold)
        except ZeroDivisionError:
            raise Wrong("division", **told) from None
        except json.JSONDecodeError as error:
            raise Wrong("not_json", answer=error.doc[:60]) from None
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise Wrong("two_numbers", found=found)
        valid, right = (float(number) for number in found)
        records = [_record(answer) for answer in answers]
        there = [(record, wanted) for record, wanted in zip(records, gold, strict=True) if record is not None]
        expected = len(there) / len(gold), _fields_right(there) / (len(FIELDS) * len(gold))
        if _near((valid, right), expected):
            continue
        told |= {"valid": valid, "right": right, "expected_valid": expected[0], "expected_right": expected[1]}
        if _near((right, valid), expected):
            raise Wrong("swapped", **told)
        if not math.isclose(valid, expected[0], abs_tol=1e-6):
            raise Wrong("any_json" if valid > expected[0] else "valid", **told)
        mistakes = (
            ("dropped", _fields_right(there) / (len(FIELDS) * (len(there) or 1))),
            ("whole_records", sum(record == wanted for record, wanted in there) / len(gold)),
            ("as_text", _fields_right([(_text(a), _text(b)) for a, b in there]) / (len(FIELDS) * len(gold))),
        )
        for mistake, value in mistakes:
            if math.isclose(right, value, abs_tol=1e-6):
                raise Wrong(mistake, **told)
        raise Wrong("values", **told)


def _record(answer: str) -> Record | None:
    try:
        record = json.loads(answer)
    except json.JSONDecodeError:
        return None
    return record if isinstance(record, dict) and record.keys() == set(FIELDS) else None


def _text(record: Record) -> Record:
    return {field: str(value) for field, value in record.items()}


def _fields_right(pairs: list[tuple[Record, Record]]) -> int:
    return sum(record[field] == wanted[field] for record, wanted in pairs for field in FIELDS)


def _near(found: tuple[float, float], expected: tuple[float, float]) -> bool:
    return all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(found, expected, strict=True))


def check_few_shot(attempt: Callable[..., Any]) -> None:
    system, text = "Make a record.", "The gateway is offline."
    pairs = [("Battery flat.", '{"category":"power"}'), ("Latch broken.", '{"category":"mechanical"}')]
    for shots in (pairs, pairs[:1], []):
        found = attempt(system, shots, text)
        expect_type(found, list, tuple)
        if strange := [message for message in found if not isinstance(message, BaseMessage)]:
            raise Wrong("no_messages", found=type(strange[0]).__name__)
        wanted: list[BaseMessage] = [SystemMessage(system)]
        for question, answer in shots:
            wanted += [HumanMessage(question), AIMessage(answer)]
        wanted.append(HumanMessage(text))
        turns, expected = ([(m.type, str(m.content)) for m in part] for part in (found, wanted))
        if turns == expected:
            continue
        kinds, expected_kinds = (" ".join(kind for kind, _ in part) for part in (turns, expected))
        told = {"shots": len(shots), "found": kinds, "expected": expected_kinds}
        if not turns or turns[0][0] != "system":
            raise Wrong("no_system", **told)
        if shots and "ai" not in kinds.split():
            raise Wrong("in_one", **told)
        if turns[-1] != ("human", text):
            raise Wrong("text_not_last", **told)
        if [content for _, content in turns] == [content for _, content in expected]:
            raise Wrong("roles", **told)
        if sorted(turns) == sorted(expected):
            raise Wrong("order", **told)
        raise Wrong("values", **told)


def check_with_wrong_labels(attempt: Callable[..., Any]) -> None:
    # one value is much more common than the others: drawn anew from all, it often comes again
    labels = ["alarm"] * 120 + ["power"] * 50 + ["display"] * 30
    np.random.default_rng(5).shuffle(labels)
    values = sorted(set(labels))
    places, changes = set(), set()
    for share, seed in [(0.2, 0), (0.2, 1), (0.5, 2), (0.0, 3), (0.2, 4)]:
        found = attempt(labels, share, np.random.default_rng(seed))
        expect_type(found, list)
        if len(found) != len(labels):
            raise Wrong("length", found=len(found), expected=len(labels))
        if foreign := [label for label in found if label not in values]:
            raise Wrong("foreign", found=foreign[0])
        changed = [n for n, (old, new) in enumerate(zip(labels, found, strict=True)) if old != new]
        expected = round(share * len(labels))
        told = {"share": share, "found": len(changed), "expected": expected, "of": len(labels)}
        if len(changed) == len(labels) - expected != expected:
            raise Wrong("kept_and_changed", **told)
        if len(changed) != expected:
            raise Wrong("too_few" if 0 < len(changed) < expected else "number", **told)
        if share == 0.2:
            places.add(tuple(changed))
            changes |= {f"{labels[n]} to {found[n]}" for n in changed}
    if len(places) == 1:
        first, *_, last = places.pop()
        raise Wrong("not_random", first=first, last=last)
    if len(changes) < len(values) * (len(values) - 1):
        raise Wrong("one_value", values=", ".join(sorted(changes)))


EXERCISES = (
    Exercise("split_by_scenario", check_split_by_scenario),
    Exercise("training_row", check_training_row),
    Exercise("valid_and_right", check_valid_and_right),
    Exercise("few_shot", check_few_shot),
    Exercise("with_wrong_labels", check_with_wrong_labels),
)
