"""Families are the connected components of documents that share something."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document

from workshop_utils.corpus.families import document_families, question_document, question_families
from workshop_utils.corpus.questions import Question

IDS = [f"D-{number:02d}" for number in range(12)]
MARKS = st.lists(st.integers(0, 15), min_size=len(IDS), max_size=len(IDS))
LINKS = st.lists(st.lists(st.sampled_from(IDS), min_size=1, max_size=4), max_size=10)


def documents(marks: list[int]) -> list[Document]:
    return [
        Document(id=key, page_content="", metadata={"family": f"m{mark}"}) for key, mark in zip(IDS, marks, strict=True)
    ]


def components(marks: list[int], links: list[list[str]]) -> set[frozenset[str]]:
    """By merging sets until nothing changes: slow and plainly right."""
    groups = [{key for key, other in zip(IDS, marks, strict=True) if other == mark} for mark in set(marks)]
    groups += [set(link) for link in links]
    merged = True
    while merged:
        merged = False
        for first in groups:
            for second in groups:
                if first is not second and first & second:
                    first |= second
                    groups.remove(second)
                    merged = True
                    break
            if merged:
                break
    return {frozenset(group) for group in groups}


@given(MARKS, LINKS)
def test_families_are_the_connected_components(marks: list[int], links: list[list[str]]) -> None:
    families = document_families(documents(marks), links)
    assert list(families) == IDS
    by_name: dict[str, set[str]] = {}
    for key, name in families.items():
        by_name.setdefault(name, set()).add(key)
    assert {frozenset(group) for group in by_name.values()} == components(marks, links)
    assert all(name == min(group) for name, group in by_name.items())


@given(MARKS, LINKS, st.randoms(use_true_random=False))
def test_the_order_of_links_and_documents_does_not_matter(
    marks: list[int], links: list[list[str]], order: random.Random
) -> None:
    expected = document_families(documents(marks), links)
    shuffled, mixed = documents(marks), [list(link) for link in links]
    order.shuffle(shuffled)
    order.shuffle(mixed)
    for link in mixed:
        order.shuffle(link)
    assert document_families(shuffled, mixed) == expected


@given(MARKS, LINKS, st.lists(st.sampled_from(IDS), min_size=2, max_size=3))
def test_another_link_only_ever_joins(marks: list[int], links: list[list[str]], link: list[str]) -> None:
    before, after = document_families(documents(marks), links), document_families(documents(marks), [*links, link])
    assert all(after[a] == after[b] for a in IDS for b in IDS if before[a] == before[b])
    assert len({after[key] for key in link}) == 1


def question(key: str, *sources: str) -> Question:
    return Question(key, "?", "!", (), "multi", sources, (), (), None, "")


def test_questions_belong_to_the_family_of_their_documents() -> None:
    asked = [
        question("D-00-q1"),
        question("D-01-q1", "D-01", "D-02"),
        question("D-02-q9", "D-02"),
        question("D-03-q1", "D-04"),
    ]
    families = question_families(documents(list(range(12))), asked)
    assert families == {"D-00-q1": "D-00", "D-01-q1": "D-01", "D-02-q9": "D-01", "D-03-q1": "D-03"}
    assert question_document("CB-2025-06-q3") == "CB-2025-06"
