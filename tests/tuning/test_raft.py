"""What RAFT learns from: the search's own order, the right numbers, and silence where the golden passage is missing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from tests.tiny import HashEmbedder
from workshop_utils.corpus import Question, load_documents, load_questions, load_training_questions, split_documents
from workshop_utils.corpus.questions import NO_ANSWER, Evidence
from workshop_utils.models.adapters import READER
from workshop_utils.models.transformers_chat import check_adapter
from workshop_utils.rag.prompts import PASSAGE_TOKENS, READER_PROMPT
from workshop_utils.retrieval.rankings import hybrid_rankings
from workshop_utils.tuning import raft as subject
from workshop_utils.tuning.raft import RECIPE, Recipe, raft_examples
from workshop_utils.tuning.supervised import Example

QUESTION = Question(
    id="X-1-q1",
    question="How long is the break?",
    answer="17 minutes",
    accept=("seventeen minutes",),
    kind="single",
    sources=("X-1",),
    evidence=(Evidence("X-1", "The break is 17 minutes."),),
    choices=(),
    choice=None,
    family="X-1",
)
ALWAYS, NEVER = Recipe(share_without=0.0), Recipe(share_without=1.0)


def passage(key: str, text: str, source: str = "X-1") -> Document:
    return Document(id=key, page_content=text, metadata={"source": source})


GOLDEN = passage("golden", "The break is 17 minutes.")
OTHERS = [passage(f"other {n}", f"Nothing of the kind, {n}.", "X-2") for n in range(6)]
PASSAGES = [GOLDEN, *OTHERS]


def made(question: Question, ranking: list[Document], recipe: Recipe, passages: list[Document] = PASSAGES) -> Example:
    (example,) = raft_examples([question], [ranking], passages, recipe)
    return example


def shown(example: Example) -> list[str]:
    text = str(example.messages[-1].content).removeprefix("Text:\n").split("\n\nQuestion: ")[0]
    return re.split(r"(?:^|\n\n)\[\d\] ", text)[1:]


def test_passages_stand_as_the_search_ranks_them() -> None:
    example = made(QUESTION, [OTHERS[0], GOLDEN, *OTHERS[1:]], ALWAYS)
    assert shown(example) == [p.page_content for p in (OTHERS[0], GOLDEN, OTHERS[1])]
    assert example.answer == "[2] 17 minutes"


@pytest.mark.parametrize("ranking", [OTHERS, [*OTHERS, GOLDEN]])
def test_a_golden_passage_that_is_not_among_the_first_takes_the_last_place(ranking: list[Document]) -> None:
    example = made(QUESTION, ranking, ALWAYS)
    assert shown(example) == [p.page_content for p in (OTHERS[0], OTHERS[1], GOLDEN)]
    assert example.answer == "[3] 17 minutes"


def test_without_the_golden_passage_nothing_shown_says_the_answer() -> None:
    says_it_too = passage("too", "Elsewhere it is Seventeen Minutes.", "X-3")
    example = made(QUESTION, [GOLDEN, says_it_too, *OTHERS], NEVER)
    assert shown(example) == [p.page_content for p in OTHERS[:3]]
    assert example.answer == NO_ANSWER


def test_a_second_passage_with_the_evidence_is_no_distractor() -> None:
    twin = passage("twin", "Again: The break is 17 minutes.")
    example = made(QUESTION, [GOLDEN, twin, *OTHERS], ALWAYS, [GOLDEN, twin, *OTHERS])
    assert twin.page_content not in shown(example)
    assert example.answer == "[1] 17 minutes"


def test_of_two_passages_with_the_evidence_the_better_ranked_is_cited() -> None:
    twin = passage("twin", "Again: The break is 17 minutes.")
    example = made(QUESTION, [OTHERS[0], twin, *OTHERS[1:], GOLDEN], ALWAYS, [GOLDEN, twin, *OTHERS])
    assert shown(example) == [p.page_content for p in (OTHERS[0], twin, OTHERS[1])]
    assert example.answer == "[2] 17 minutes"


def test_evidence_in_two_passages_is_cited_twice() -> None:
    second = passage("second", "Trainees get twice that.")
    both = replace(QUESTION, kind="multi", answer="34 minutes", evidence=(*QUESTION.evidence, Evidence("X-1", "twice")))
    ranking = [second, OTHERS[0], GOLDEN, *OTHERS[1:]]
    assert made(both, ranking, ALWAYS, [*PASSAGES, second]).answer == "[1, 3] 34 minutes"
    assert list(raft_examples([both], [ranking], [*PASSAGES, second], replace(ALWAYS, passages=1))) == []


def test_without_the_golden_passages_no_piece_of_evidence_is_shown() -> None:
    second = passage("second", "Trainees get twice that.")
    both = replace(QUESTION, kind="multi", answer="34 minutes", evidence=(*QUESTION.evidence, Evidence("X-1", "twice")))
    example = made(both, [second, GOLDEN, *OTHERS], NEVER, [*PASSAGES, second])
    assert shown(example) == [p.page_content for p in OTHERS[:3]]
    assert example.answer == NO_ANSWER


def test_a_question_whose_evidence_was_cut_apart_is_left_out() -> None:
    assert list(raft_examples([QUESTION], [OTHERS], OTHERS, ALWAYS)) == []


def test_a_question_without_an_answer_shows_what_was_found() -> None:
    silent = replace(QUESTION, kind="unanswerable", answer=NO_ANSWER, accept=(), sources=(), evidence=())
    example = made(silent, OTHERS, ALWAYS)
    assert len(shown(example)) == ALWAYS.passages
    assert example.answer == NO_ANSWER


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_so_many_have_no_golden_passage(share: float) -> None:
    questions = [replace(QUESTION, id=f"X-1-q{n}") for n in range(400)]
    recipe = Recipe(share_without=share)
    answers = [e.answer for e in raft_examples(questions, [[GOLDEN, *OTHERS]] * 400, PASSAGES, recipe)]
    assert answers.count(NO_ANSWER) / 400 == pytest.approx(share, abs=0.06)
    assert answers == [e.answer for e in raft_examples(questions, [[GOLDEN, *OTHERS]] * 400, PASSAGES, recipe)]


def test_rankings_are_one_for_each_question() -> None:
    with pytest.raises(ValueError, match="zip"):
        list(raft_examples([QUESTION], [], PASSAGES))


def test_nothing_restricted_is_learnt() -> None:
    readable = {str(document.id) for document in load_documents()}
    assert all(set(question.sources) <= readable for question in load_training_questions())


def test_it_can_go_on_from_the_reader() -> None:
    config = check_adapter(READER)
    assert config["r"] == subject.SETTINGS.rank
    assert len(config["layers_to_transform"]) == subject.SETTINGS.upper_layers


def test_the_command_trains_on_all_and_goes_on_from_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[list[str], Recipe]] = []
    trained: dict[str, Any] = {}

    def encoded(questions: list[Question], recipe: Recipe) -> list[str]:
        asked.append(([question.id for question in questions], recipe))
        return [question.id for question in questions]

    def train(rows: Any, folder: Path, settings: Any, **more: Any) -> dict[str, Any]:
        trained.update(rows=rows, folder=folder, settings=settings, **more)
        return {}

    monkeypatch.setattr(subject, "_encoded", encoded)
    monkeypatch.setattr(subject, "train_adapter", train)
    subject.train_raft(tmp_path)
    assert sorted(trained["rows"]) == sorted(question.id for question in load_training_questions())
    assert (trained["start_from"], trained["settings"], trained["folder"]) == (READER, subject.SETTINGS, tmp_path)
    assert len(trained["dev"]) == subject.DEV_EXAMPLES
    assert not set(trained["dev"]) & set(trained["rows"])
    kinds = {question.id: question.kind for question in load_questions("dev")}
    assert {kinds[key] for key in trained["dev"]} == {"single", "multi", "changed", "unanswerable"}
    assert {recipe for _, recipe in asked} == {RECIPE}
    # a part of the questions is a part of every collection, and not the first documents
    assert trained["rows"] != [question.id for question in load_training_questions()]
    assert subject.raft_rows(n=5) == trained["rows"][:5]


def test_rows_show_what_hybrid_search_finds_in_the_prompt_of_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [passage(f"D-{n}", f"# Break {n}\n\nThe break of team {n} is long.\n") for n in range(12)]
    documents = [d.model_copy(update={"metadata": {"title": "Break", "acl": ["everyone"]}}) for d in documents]
    silent = replace(QUESTION, question="What of team 7?", kind="unanswerable", answer=NO_ANSWER, evidence=())
    for name, stand_in in {
        "load_documents": lambda: documents,
        "load_embedder": HashEmbedder,
        "load_training_questions": lambda: [silent],
        "load_tokenizer": lambda: None,
        "encode_examples": lambda _, examples: list(examples),
    }.items():
        monkeypatch.setattr(subject, name, stand_in)
    (found,) = hybrid_rankings([silent], split_documents(documents, PASSAGE_TOKENS), HashEmbedder(), 2)
    labelled = [(str(number), one) for number, one in enumerate(found, start=1)]
    rows: Any = subject.raft_rows(Recipe(passages=2))
    assert rows == [Example(tuple(READER_PROMPT.messages(silent.question, labelled)), NO_ANSWER)]
