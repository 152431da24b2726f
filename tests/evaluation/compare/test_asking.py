"""What is sent: passages of the right search, worked examples of other documents, every way to say a choice."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.evaluation.compare.conftest import question
from tests.tiny import HashEmbedder
from workshop_utils.corpus.questions import NO_ANSWER
from workshop_utils.evaluation.compare import asking
from workshop_utils.evaluation.compare.arms import ARMS, RIVALS, Arm, arms_of
from workshop_utils.evaluation.compare.material import Material
from workshop_utils.models import device
from workshop_utils.models.transformers_chat import ChatTransformers, Engine
from workshop_utils.rag.prompts import READER_PROMPT


@pytest.fixture
def found(material: Material) -> asking.Found:
    asked = [*material.questions, *asking.example_questions(material)]
    return asking.search(asked, material.documents, HashEmbedder())


def shots(arm: Arm, count: int) -> Arm:
    return replace(arm, shots=count)


def test_worked_examples_are_of_other_questions_and_a_quarter_has_no_answer(
    material: Material, found: asking.Found
) -> None:
    prompt = asking.prompt_of(shots(ARMS["few_shot"], 8), material, found)
    asked = [example.question for example in prompt.examples]
    assert len(set(asked)) == 8
    assert not set(asked) & {question.question for question in material.questions}
    assert sum(example.answer == NO_ANSWER for example in prompt.examples) == 2
    assert all(example.passages == () for example in prompt.examples)
    assert asking.prompt_of(shots(ARMS["few_shot"], 8), material, found) == prompt


def test_worked_examples_with_passages_cite_the_one_that_holds_the_answer(
    material: Material, found: asking.Found
) -> None:
    rival = arms_of("company_three")["few_shot_rag"]
    prompt = asking.prompt_of(rival, material, found)
    assert len(prompt.examples) == 4
    for example in prompt.examples:
        assert len(example.passages) == 3
        if example.answer == NO_ANSWER:
            continue
        label, text = example.answer.split("] ")
        assert text in example.passages[int(label[1:]) - 1]


def test_an_example_whose_passage_is_not_found_is_passed_over(material: Material, found: asking.Found) -> None:
    rival = arms_of("company_three")["few_shot_rag"]
    lost = {**found, **{f"KB-{n}-q1": found["KB-0-q1"] for n in range(20, 27)}}
    kept = [e for e in asking.prompt_of(rival, material, lost).examples if e.answer != NO_ANSWER]
    assert [example.question for example in kept] == ["How long do I wait for number 27?"]


def test_arms_without_shots_keep_their_prompt(material: Material) -> None:
    assert asking.prompt_of(ARMS["rag"], material, {}) is ARMS["rag"].prompt


def test_an_arm_is_given_as_many_passages_as_it_reads(found: asking.Found, tiny_llama: Path) -> None:
    llm = ChatTransformers(engine=Engine.load(str(tiny_llama), device.choose(), local=True), max_tokens=1)
    asked = [question(0)]
    for arm in (ARMS["base"], ARMS["rag"], ARMS["reader_rag"]):
        sent = asking.ask(replace(arm, adapter=None), arm.prompt, asked, found, llm, choose=False)
        assert sent.shown == (tuple(found["KB-0-q1"][: arm.k]),)
        assert str(sent.messages[0][-1].content).count("About ") == arm.k
        assert sent.chosen == (None,)


def test_who_cites_first_is_given_each_option_after_each_citation() -> None:
    one = question(1)
    assert asking.options(ARMS["base"], one, 0) == [["101 minutes"], ["3 minutes"], ["a whole day"]]
    assert asking.options(ARMS["rag"], one, 1) == [["101 minutes"], ["3 minutes"], ["a whole day"]]
    assert asking.options(ARMS["reader_rag"], one, 2)[1] == ["[1] 3 minutes", "[2] 3 minutes"]


class Fixed(ChatTransformers):
    """Finds replies as likely as the table says."""

    table: dict[str, float]

    def batch_logprobs(self, conversations, answers):  # type: ignore[no-untyped-def]  # noqa: ARG002
        return [[self.table[text] for text in own] for own in answers]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        # the last has four tokens, the others one
        ({"yes": -1.0, "no": -3.0, "a whole long day": -4.4}, 0),
        ({"yes": -2.0, "no": -1.0, "a whole long day": -4.4}, 1),
        # the least likely of all is the likeliest for its length
        ({"yes": -1.0, "no": -3.0, "a whole long day": -3.6}, 2),
    ],
)
def test_the_choice_is_the_likeliest_option_for_its_length(
    table: dict[str, float], expected: int, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path))
    llm = Fixed(engine=Engine.load(str(tiny_llama), device.choose(), local=True), max_tokens=1, table=table)
    tokens = {text: llm.count_tokens(text) for text in table}
    assert list(tokens.values()) == [1, 1, 4]
    one = replace(question(0), choices=tuple(table))
    asked = asking.ask(ARMS["base"], ARMS["base"].prompt, [one], {}, llm)
    assert asked.chosen == (expected,)


def test_citations_are_added_up(
    found: asking.Found, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path))
    # yes is likeliest after one citation, no is likelier after all three together
    table = {f"[{n}] no": math.log(0.2) for n in (1, 2, 3)} | {f"[{n}] yes": math.log(0.01) for n in (1, 2)}
    table["[3] yes"] = math.log(0.4)
    llm = Fixed(engine=Engine.load(str(tiny_llama), device.choose(), local=True), max_tokens=1, table=table)
    one = replace(question(0), choices=("yes", "no"))
    asked = asking.ask(replace(ARMS["reader_rag"], adapter=None), READER_PROMPT, [one], found, llm)
    assert asked.chosen == (1,)


def test_log_sum() -> None:
    assert asking.log_sum([math.log(0.2), math.log(0.3)]) == pytest.approx(math.log(0.5))
    assert asking.log_sum([-2000.0, -2000.0]) == pytest.approx(-2000 + math.log(2))


def test_every_rival_cites() -> None:
    for key, rival in RIVALS.items():
        arm = arms_of(key)["few_shot_rag"]
        assert arm.prompt.numbered
        assert all("[" in example.answer for example in arm.prompt.examples)
        assert arm.prompt.examples or arm.shots
        assert (arm.k, arm.adapter) == (rival.k, None)
