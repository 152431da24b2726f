"""House-style and plain-language pairs, and the texts that show what a model forgets."""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations

import pytest

from workshop_utils.corpus import data_dir
from workshop_utils.corpus.general import load_general_choices, load_prose
from workshop_utils.corpus.pairs import TASKS, Pair, Task, load_pairs
from workshop_utils.corpus.questions import Split
from workshop_utils.evaluation import normalise
from workshop_utils.evaluation.house_style import check_style

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
NEAR_DUPLICATE = 0.7


@pytest.fixture(scope="module", params=TASKS)
def pairs(request: pytest.FixtureRequest) -> dict[Split, list[Pair]]:
    task: Task = request.param
    return {split: load_pairs(task, split) for split in SPLITS}


def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def test_enough_pairs_in_fixed_splits(pairs: dict[Split, list[Pair]]) -> None:
    assert sum(map(len, pairs.values())) >= 300
    assert min(map(len, pairs.values())) >= 40
    every = [pair.id for part in pairs.values() for pair in part]
    assert len(set(every)) == len(every)


def test_no_scenario_is_in_two_splits(pairs: dict[Split, list[Pair]]) -> None:
    used = {split: {pair.scenario for pair in part} for split, part in pairs.items()}
    for first, second in combinations(SPLITS, 2):
        assert not used[first] & used[second]


@pytest.mark.parametrize("side", ["text", "target"])
def test_no_near_duplicate_anywhere(pairs: dict[Split, list[Pair]], side: str) -> None:
    sets = {pair.id: words(getattr(pair, side)) for part in pairs.values() for pair in part}
    faults = [
        (one, two)
        for one, two in combinations(sets, 2)
        if len(sets[one] & sets[two]) >= NEAR_DUPLICATE * len(sets[one] | sets[two])
    ]
    assert not faults


def test_every_reply_keeps_every_rule_of_the_style_guide() -> None:
    faults = [
        f"{pair.id}: {rule}"
        for split in SPLITS
        for pair in load_pairs("style", split)
        for rule, kept in check_style(pair.target, pair.text).items()
        if not kept
    ]
    assert not faults


def test_replies_are_no_stock_sentences() -> None:
    """Apart from the lines that the guide prescribes."""
    bodies = [pair.target.split("Good day,", 1)[1] for split in SPLITS for pair in load_pairs("style", split)]
    sentences = Counter(
        sentence
        for body in bodies
        for sentence in re.split(r"(?<=\.)\s+", body.strip())
        if not sentence.startswith("With regards")
    )
    assert not [sentence for sentence, count in sentences.items() if count > 3]


def test_plain_language_keeps_the_figures_and_drops_the_abbreviations() -> None:
    guide = (data_dir() / "jargon" / "GUIDE.md").read_text("utf-8")
    abbreviations = re.findall(r"^\| `?([^|`]+?)`? \|", guide, re.M)[1:]
    assert len(abbreviations) >= 40
    faults = []
    for pair in (pair for split in SPLITS for pair in load_pairs("jargon", split)):
        noted = set(re.findall(r"\d+(?:[.,:]\d+)*", pair.text))
        faults += [f"{pair.id}: {n} is new" for n in set(re.findall(r"\d+(?:[.,:]\d+)*", pair.target)) - noted]
        faults += [
            f"{pair.id}: {short}"
            for short in abbreviations
            if short.upper() == short and len(short) > 1 and re.search(rf"\b{re.escape(short)}\b", pair.target)
        ]
    assert not faults


def test_general_choices_are_a_hundred_with_one_right_answer() -> None:
    choices = load_general_choices()
    assert len(choices) >= 100
    assert not [c.id for c in choices if len({normalise(choice) for choice in c.choices}) != 4]
    places = Counter(c.choice for c in choices)
    assert set(places) == {0, 1, 2, 3}
    assert min(places.values()) >= 20
    assert len({normalise(c.question) for c in choices}) == len(choices)


def test_prose_is_about_anything_but_the_company() -> None:
    prose = load_prose()
    assert len(prose) >= 50
    assert not [p.id for p in prose if not 70 <= len(p.text.split()) <= 160]
    assert not [p.id for p in prose if re.search("clairval|infusion|sorvane|tilvo", p.text, re.I)]
