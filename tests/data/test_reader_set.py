"""The reader set: other organisations' passages, answers that stand in them, and nothing of Clairval."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import combinations

import pytest
import yaml

from workshop_utils.corpus import data_dir
from workshop_utils.corpus.reader_set import ReaderExample, load_reader_examples, load_reader_passages

CLAIRVAL = re.compile(
    r"\b(?:clairval|sorvane|tilvo|quaylink|dosewright|wardboard|heron|velotrine|tressadine|ulvaparin|morvadol|calvorin|"
    r"vernay|kestrel point|lindholm|port amsel|orsell|tarrow|infusions?)\b",
    re.I,
)
NEAR_DUPLICATE = 0.6


@pytest.fixture(scope="module")
def examples() -> dict[str, list[ReaderExample]]:
    return {"train": load_reader_examples("train"), "dev": load_reader_examples("dev")}


@pytest.fixture(scope="module")
def every(examples: dict[str, list[ReaderExample]]) -> list[ReaderExample]:
    return examples["train"] + examples["dev"]


def test_enough_examples_passages_and_organisations(every: list[ReaderExample]) -> None:
    passages = load_reader_passages().values()
    assert len(every) >= 1500
    assert len(passages) >= 150
    assert len({passage.organisation for passage in passages}) >= 6


def test_passages_have_40_to_120_words_and_nothing_of_clairval() -> None:
    faults = []
    for passage in load_reader_passages().values():
        if not 40 <= len(passage.text.split()) <= 120:
            faults.append(f"{passage.id}: {len(passage.text.split())} words")
        if CLAIRVAL.search(f"{passage.title} {passage.text}"):
            faults.append(f"{passage.id}: names something of Clairval")
    assert not faults


def test_the_list_of_clairval_names_is_complete() -> None:
    company = (data_dir() / "company.md").read_text("utf-8")
    sites = re.findall(r"^\| ([A-Z][a-z]+(?: [A-Z][a-z]+)?) \| [a-z]", company, re.M)
    assert len(sites) >= 6
    assert all(CLAIRVAL.search(site) for site in sites)
    assert yaml.safe_load((data_dir() / "people.yaml").read_text("utf-8"))["roles"]


def test_answers_are_copied_from_their_source(every: list[ReaderExample]) -> None:
    faults = []
    for example in every:
        shown = {passage.id: passage for passage in example.passages}
        if (example.answer is None) != (example.source is None):
            faults.append(f"{example.id}: answer without source")
        if example.answer is None:
            continue
        if example.source not in shown or example.answer not in shown[example.source].text:
            faults.append(f"{example.id}: {example.answer}")
        if len(example.answer.split()) > 7:
            faults.append(f"{example.id}: {example.answer} is long")
    assert not faults


def test_distractors_are_of_the_same_organisation(every: list[ReaderExample]) -> None:
    for example in every:
        assert len({passage.id for passage in example.passages}) == len(example.passages) == 5
        assert len({passage.organisation for passage in example.passages}) == 1


def test_the_source_can_stand_anywhere(examples: dict[str, list[ReaderExample]]) -> None:
    places = Counter(
        [passage.id for passage in example.passages].index(example.source)
        for example in examples["train"]
        if example.source
    )
    assert max(places.values()) < 1.35 * min(places.values())


def test_fifteen_in_a_hundred_have_no_answer(examples: dict[str, list[ReaderExample]]) -> None:
    for split, part in examples.items():
        assert 0.14 <= sum(example.source is None for example in part) / len(part) <= 0.18, split


def test_no_organisation_is_in_both_splits(examples: dict[str, list[ReaderExample]]) -> None:
    organisations = {split: {e.passages[0].organisation for e in part} for split, part in examples.items()}
    assert not organisations["train"] & organisations["dev"]
    assert len(organisations["train"]) >= 6


def test_several_questions_a_passage_and_none_twice(every: list[ReaderExample]) -> None:
    assert len({example.question.lower().strip(" ?.") for example in every}) == len(every)
    by_passage = defaultdict(list)
    for example in every:
        by_passage[example.source].append(example)
    assert sorted(map(len, by_passage.values()))[len(by_passage) // 10] >= 3


def test_no_two_passages_are_near_duplicates() -> None:
    sets = {p.id: frozenset(re.findall(r"\w+", p.text.lower())) for p in load_reader_passages().values()}
    faults = [
        (one, two)
        for one, two in combinations(sets, 2)
        if len(sets[one] & sets[two]) >= NEAR_DUPLICATE * len(sets[one] | sets[two])
    ]
    assert not faults
