"""The exercises of lesson 00: blank, reference, and wrong answers with their messages."""

from __future__ import annotations

import re

from workshop_utils.authoring.proving import prove

NUMBER = r"\d+(?:[.,]\d+)*"


def written(answer: str) -> list[str]:
    return list(dict.fromkeys(re.findall(NUMBER, answer)))


def known(passages: list[str]) -> set[str]:
    return set(re.findall(NUMBER, " ".join(passages)))


def test_unsupported_numbers() -> None:
    prove(
        "unsupported_numbers",
        wrong={
            "missed": [lambda _answer, _passages: []],
            "supported": [lambda answer, _passages: written(answer)],
            "part_of_number": [lambda a, p: [n for n in written(a) if n not in " ".join(p)]],
            "split_number": [
                lambda a, p: [n for n in re.findall(r"\d+", a) if n not in re.findall(r"\d+", " ".join(p))]
            ],
            "other_passage": [lambda a, p: [n for n in written(a) if n not in known(p[:1])]],
            "repeats": [lambda a, p: [n for n in re.findall(NUMBER, a) if n not in known(p)]],
            "order": [lambda a, p: sorted(set(written(a)) - known(p))],
            "returned_nothing": [lambda _answer, _passages: None],
            "type": [lambda a, p: set(written(a)) - known(p)],
        },
    )


def grouped(ids: list[str]) -> dict[str, list[str]]:
    numbers: dict[str, list[str]] = {}
    for name in ids:
        document, number = name.split("#")
        numbers.setdefault(document, []).append(number)
    return numbers


def line(document: str, numbers: list[str], titles: dict[str, str]) -> str:
    word = "passages" if len(numbers) > 1 else "passage"
    return f"{document} ({word} {', '.join(str(int(n)) for n in numbers)}): {titles[document]}"


def test_source_list() -> None:
    prove(
        "source_list",
        wrong={
            "repeated_document": [lambda ids, titles: [line(i.split("#")[0], [i.split("#")[1]], titles) for i in ids]],
            "order": [lambda ids, titles: sorted(line(d, n, titles) for d, n in grouped(ids).items())],
            "leading_zero": [
                lambda ids, t: [
                    f"{d} ({'passages' if len(n) > 1 else 'passage'} {', '.join(n)}): {t[d]}"
                    for d, n in grouped(ids).items()
                ]
            ],
            "plural": [
                lambda ids, t: [
                    f"{d} (passages {', '.join(str(int(x)) for x in n)}): {t[d]}" for d, n in grouped(ids).items()
                ]
            ],
            "form": [lambda ids, t: [f"{d}: {t[d]}" for d in grouped(ids)], lambda _ids, _titles: []],
            "empty": [lambda ids, t: [line(d, n, t) for d, n in grouped(ids).items()] or ["no sources"]],
        },
    )


def test_speeds() -> None:
    prove(
        "speeds",
        wrong={
            "two_numbers": [lambda asked, arrivals: arrivals[0] - asked],
            "clock_time": [lambda _asked, arrivals: (arrivals[0], 2.0)],
            "first": [lambda asked, arrivals: (arrivals[-1] - asked, 2.0)],
            "fence_post": [lambda asked, a: (a[0] - asked, len(a) / (a[-1] - a[0]))],
            "with_waiting": [
                lambda asked, a: (a[0] - asked, len(a) / (a[-1] - asked)),
                lambda asked, a: (a[0] - asked, (len(a) - 1) / (a[-1] - asked)),
            ],
            "inverted": [lambda asked, a: (a[0] - asked, (a[-1] - a[0]) / (len(a) - 1))],
            "rate": [lambda asked, a: (a[0] - asked, float(len(a)))],
        },
    )
