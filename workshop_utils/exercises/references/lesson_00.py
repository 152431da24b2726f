# ruff: noqa
# fmt: off
# mypy: disable-error-code="no-any-return"
"""Reference answers: generated from lessons/00_start_here.py by `workshop build`; do not edit."""

import re


def unsupported_numbers(answer: str, passages: list[str]) -> list[str]:
    """Numbers that stand in the answer and in none of the passages, in the answer's order, each once."""
    number = r"\d+(?:[.,]\d+)*"
    known = set(re.findall(number, " ".join(passages)))
    written = re.findall(number, answer)
    return [found for found in dict.fromkeys(written) if found not in known]


def source_list(passage_ids: list[str], titles: dict[str, str]) -> list[str]:
    """Lines 'ID (passages 2, 9): TITLE', one a document, in the order of its first passage; 'passage' when it is one.

    passage_ids: best first, such as 'HR-06#02'; titles: document id -> title.
    """
    numbers: dict[str, list[str]] = {}
    for passage_id in passage_ids:
        document, number = passage_id.split("#")
        numbers.setdefault(document, []).append(str(int(number)))
    return [
        f"{document} ({'passages' if len(found) > 1 else 'passage'} {', '.join(found)}): {titles[document]}"
        for document, found in numbers.items()
    ]


def speeds(asked_at: float, arrivals: list[float]) -> tuple[float, float]:
    """(seconds to the first piece, pieces a second after the first); moments in seconds, at least two arrivals."""
    first, last = arrivals[0], arrivals[-1]
    return first - asked_at, (len(arrivals) - 1) / (last - first)
