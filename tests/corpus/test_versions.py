"""Which version was in force on a day."""

from __future__ import annotations

import pytest
from langchain_core.documents import Document

from workshop_utils.corpus.versions import in_force
from workshop_utils.errors import InputError


def version(key: str, date: str, later: str | None = None) -> Document:
    return Document(id=key, page_content="x", metadata={"date": date, "superseded_by": later})


ALL = [
    version("A1", "2023-02-01", "A2"),
    version("A2", "2024-02-01", "A3"),
    version("A3", "2025-02-01"),
    version("B", "2024-06-01"),
]


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2023-01-31", []),
        ("2023-02-01", ["A1"]),
        ("2024-01-31", ["A1"]),
        ("2024-02-01", ["A2"]),
        ("2024-12-31", ["A2", "B"]),
        ("2026-01-01", ["A3", "B"]),
    ],
)
def test_a_version_lasts_until_the_next_is_published(date: str, expected: list[str]) -> None:
    assert [document.id for document in in_force(ALL, date)] == expected


def test_no_date_is_refused() -> None:
    with pytest.raises(InputError, match="Write it as 2026-01-08"):
        in_force(ALL, "last year")
