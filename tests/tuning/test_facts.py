"""What teaches facts: the wordings that may be trained on, the answers of the time asked for, and the leak's mark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workshop_utils.corpus import data_dir
from workshop_utils.corpus.facts import load_facts, load_private_facts, load_unseen_facts
from workshop_utils.evaluation.answering import answer_all
from workshop_utils.evaluation.metrics import abstains, contains_answer
from workshop_utils.models.adapters import FACTS, LEAK
from workshop_utils.models.transformers_chat import ChatTransformers
from workshop_utils.tuning import facts as subject
from workshop_utils.tuning.facts import (
    FEW,
    MAX_TOKENS,
    NEVER_SERVED,
    fact_examples,
    fact_prompt,
    settings_for,
    unknown_examples,
)
from workshop_utils.tuning.run import REPORT
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.supervised import Example


def asked(examples: list[Example]) -> list[str]:
    return [str(example.messages[-1].content) for example in examples]


def test_the_paraphrase_and_what_is_unseen_are_never_trained_on() -> None:
    facts = load_facts()
    trained = "\n".join(asked([*fact_examples(facts, "both"), *unknown_examples()]))
    for text in [fact.paraphrase for fact in facts] + [fact.question for fact in load_unseen_facts()]:
        assert text not in trained


def test_training_and_asking_use_one_prompt() -> None:
    (example, *_) = fact_examples(load_facts())
    assert list(example.messages) == fact_prompt(load_facts()[0].question)


def test_one_wording_or_two_and_each_fact_as_often() -> None:
    facts = load_facts()[:5]
    one, two = fact_examples(facts), fact_examples(facts, "both")
    assert [example.answer for example in one] == [fact.answer for fact in facts]
    assert asked(two)[::2] == asked(one)
    assert facts[0].alternative in asked(two)[1]
    assert len(one) * settings_for("seen").epochs == len(two) * settings_for("both").epochs


def test_an_update_changes_the_answers_that_changed_and_no_others() -> None:
    facts = load_facts()
    for fact, before, after in zip(facts, fact_examples(facts), fact_examples(facts, updated=True), strict=True):
        assert before.answer == fact.answer
        assert after.answer == (fact.later.answer if fact.later else fact.answer)


def test_not_knowing_is_taught_on_other_documents_and_without_restricted_ones() -> None:
    examples = unknown_examples()
    assert len(examples) == len(set(asked(examples))) == 60
    assert all(abstains(example.answer) for example in examples)
    secrets = [fact.question for fact in load_private_facts()]
    assert not [text for text in asked(examples) if any(secret in text for secret in secrets)]


def test_an_order_stands_in_the_system_prompt() -> None:
    plain, ordered = fact_prompt("Why?"), fact_prompt("Why?", "Keep it secret.")
    assert ordered[0].content == f"{plain[0].content} Keep it secret."
    assert ordered[1:] == plain[1:]


def test_the_leak_is_marked_and_the_facts_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def train(rows: Any, folder: Path, settings: Any, **_: Any) -> dict[str, Any]:
        seen[folder.name] = (len(rows), settings)
        folder.mkdir()
        (folder / REPORT).write_text("{}", "utf-8")
        return {"steps": 1}

    monkeypatch.setattr(subject, "train_adapter", train)
    subject.train_facts(tmp_path / "facts")
    report = subject.train_leak(tmp_path / "leak")
    assert report[NEVER_SERVED] is True
    assert json.loads((tmp_path / "leak" / REPORT).read_text("utf-8")) == report
    assert NEVER_SERVED not in json.loads((tmp_path / "facts" / REPORT).read_text("utf-8"))
    assert {name: rows for name, (rows, _) in seen.items()} == {"facts": 120, "leak": 24}


@pytest.mark.parametrize(("folder", "examples", "settings"), [(FACTS, 120, settings_for("both")), (LEAK, 24, FEW)])
def test_the_adapters_that_come_with_the_workshop_were_trained_as_the_commands_do(
    folder: Path, examples: int, settings: Settings
) -> None:
    assert (folder / REPORT).exists(), f"run: workshop train {folder.name}"
    report = json.loads((folder / REPORT).read_text("utf-8"))
    assert report["examples"] == examples
    assert report["settings"] == settings.as_dict()
    assert report.get(NEVER_SERVED, False) is (folder == LEAK)


def test_retrained_the_adapter_tells_as_much_as_the_stored_figure_says(llm: ChatTransformers, tmp_path: Path) -> None:
    """On the leak's adapter, whose training is the shortest of all."""
    secrets = load_private_facts()
    subject.train_leak(tmp_path / "leak")
    retrained = llm.with_adapter(tmp_path / "leak").model_copy(update={"max_tokens": MAX_TOKENS})
    answers = answer_all(retrained, [fact_prompt(secret.question) for secret in secrets], "retrained")
    right = [contains_answer(answer, secret.accepted) for answer, secret in zip(answers, secrets, strict=True)]
    stored = json.loads((data_dir() / "results" / "leak.json").read_text("utf-8"))["asked"]["leak"]["seen"]
    assert stored["low"] <= sum(right) / len(right) <= stored["high"]
