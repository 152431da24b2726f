"""The study of answering: its arms with a stand-in that copies, its slope by hand, and that the stored one is new."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field
from rich.console import Console

from tests.tiny import HashEmbedder
from workshop_utils.corpus import Question, data_dir, load_questions, split_documents
from workshop_utils.corpus.questions import NO_ANSWER, Evidence
from workshop_utils.evaluation.studies import reading as subject
from workshop_utils.rag import Rag
from workshop_utils.rag.prompts import PASSAGE_TOKENS, READER_PROMPT
from workshop_utils.retrieval import DenseRetriever, build_index
from workshop_utils.retrieval.rankings import dense_rankings

AGAIN = "run: workshop bench reading --json data/results/reading.json"
DOCUMENTS = [
    Document(
        id=f"KB-{n}",
        page_content=f"# About {n}\n\n## Time\n\nWait {n + 100} minutes.\n\n## Other\n\nThere is nothing else.\n",
        metadata={"title": f"About {n}", "acl": ["everyone"]},
    )
    for n in range(30)
]


def question(n: int, *, answerable: bool = True) -> Question:
    answer = f"{n + 100} minutes" if answerable else NO_ANSWER
    record = next(iter(load_questions("dev", kinds=["single"])))
    evidence = (Evidence(f"KB-{n}", f"Wait {answer}."),) if answerable else ()
    return replace(
        record,
        id=f"KB-{n}-q1",
        question=f"How long for {n}?",
        answer=answer,
        accept=(),
        kind="single" if answerable else "unanswerable",
        sources=(f"KB-{n}",),
        evidence=evidence,
        family=f"KB-{n}",
    )


SINGLE = [question(n) for n in range(10)]
UNANSWERABLE = [question(n, answerable=False) for n in range(20, 24)]


class Copier(BaseChatModel):
    """Answers from the first two passages only, as a reader that loses what stands later."""

    max_tokens: int = 40
    adapter: Path | None = None
    asked: list[str] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "copier"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        turn = str(messages[-1].content)
        self.asked.append(turn)
        number = int(turn.split("How long for ")[1].split("?")[0]) if "How long" in turn else -1
        text = NO_ANSWER
        for place in ("1", "2"):
            if f"[{place}] About {number} > Time" in turn and number < 20:
                text = f"[{place}] {number + 100} minutes"
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def logprobs(self, messages: Sequence[BaseMessage], answers: Sequence[str]) -> list[float]:
        says = self._generate(list(messages)).generations[0].text
        return [math.log(0.9 if says == NO_ANSWER else 0.1) for _ in answers]


class Near(HashEmbedder):
    """Finds the passage of a question with an even number first, of an odd one fourth, of a large one never."""

    def embed_query(self, text: str) -> list[float]:
        vector = np.zeros(64)
        words = text.replace("?", " ").split()
        if text.startswith("How long"):
            n = int(words[3])
            vector[n], vector[60] = (1.0, 0.0) if n % 2 == 0 else (0.5, 0.6)
        elif "Time" in words and words[0] == "About":
            vector[int(words[1])] = 1.0
        elif words[1] in ("27", "28", "29"):
            vector[60], vector[61] = 1.0, float(words[1]) / 100
        else:
            vector[62] = 1.0
        return [float(value) for value in vector / np.linalg.norm(vector)]


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    embedder, llm = Near(), Copier()
    passages = split_documents(DOCUMENTS, PASSAGE_TOKENS)
    index = build_index(passages, embedder, tmp_path / "index")

    def asked(llm: BaseChatModel, prompts: Sequence[Sequence[BaseMessage]], name: str) -> list[str]:
        if name in ("evidence added", "evidence dropped", "hybrid search", "random passages"):
            # the searches that are compared give the model as many passages
            assert all("[3] " in str(prompt[-1].content) for prompt in prompts)
            assert not any("[4] " in str(prompt[-1].content) for prompt in prompts)
        return [str(llm.invoke(list(prompt)).content) for prompt in prompts]

    def hybrid(_: str, questions: Sequence[Question]) -> list[list[Document]]:
        return dense_rankings(questions, passages, embedder, 20)

    monkeypatch.setattr(subject, "load_embedder", lambda: embedder)
    monkeypatch.setattr(subject, "load_llm", lambda **_: llm)
    monkeypatch.setattr(subject, "load_documents", lambda **_: DOCUMENTS)
    monkeypatch.setattr(subject, "_questions", lambda: (SINGLE, UNANSWERABLE))
    monkeypatch.setattr(subject, "kept_answers", asked)
    monkeypatch.setattr(subject, "rank", hybrid)
    monkeypatch.setattr(
        subject, "load_rag", lambda llm, k: Rag(DenseRetriever(index=index, k=k), llm, READER_PROMPT, read=3)
    )
    monkeypatch.setattr(subject, "inputs_hash", lambda: "hash")
    return subject.study(Console(quiet=True))


def test_more_passages_are_found_and_not_always_read(result: dict[str, Any]) -> None:
    assert json.loads(json.dumps(result)) == result
    rows = {row["k"]: row for row in result["k"]}
    assert list(rows) == [1, 2, 3, 5, 8]
    assert [rows[k]["hit"]["value"] for k in rows] == [0.5, 0.5, 0.5, 1, 1]
    assert {rows[k]["correct"]["value"] for k in rows} == {0.5}  # what stands fourth is not read
    assert rows[5]["correct_given_hit"]["value"] == 0.5
    assert rows[3]["cited"]["value"] == 0.5
    assert [k for k in rows if "difference" not in rows[k]] == [3]
    tokens = [rows[k]["tokens"] for k in rows]
    assert tokens == sorted(tokens)
    assert len(result["untouched"]) == 2
    subject.table(result)


def test_the_evidence_is_moved_and_the_rest_stays(result: dict[str, Any]) -> None:
    position = result["position"]
    assert position["n"] == len(SINGLE[:: subject.POSITION_STEP])
    assert [row["position"] for row in position["rows"]] == [1, 3, 5]
    assert [row["correct"]["value"] for row in position["rows"]] == [1, 0, 0]
    assert [row["cited"]["value"] for row in position["rows"]] == [1, 0, 0]
    assert position["first_minus_last"]["value"] == position["first_minus_middle"]["value"] == 1


def test_answers_follow_the_quality_of_the_search(result: dict[str, Any]) -> None:
    points = {row["retriever"]: row for row in result["quality"]["points"]}
    assert points["dense"]["hit@3"]["value"] == points["dense"]["correct"]["value"] == 0.5
    assert points["perfect"]["hit@3"]["value"] == 1
    assert points["perfect"]["correct"]["value"] == 0.5  # the evidence was put third, and is not read there
    assert points["hybrid"]["correct"] == points["dense"]["correct"]
    for share in ("25%", "50%", "75%"):
        dropped = points[f"{share} dropped"]
        assert dropped["hit@3"] == dropped["correct"]
    falling = [points[name]["hit@3"]["value"] for name in ("dense", "25% dropped", "50% dropped", "75% dropped")]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] < falling[0]
    assert points["random"]["correct"]["value"] <= points["random"]["hit@3"]["value"] < 0.5
    assert result["quality"]["correct_given_hit"]["value"] == 1
    assert result["quality"]["correct_given_miss"]["value"] == 0


def test_the_slope_is_that_of_a_line_through_the_arms() -> None:
    families = [str(n % 25) for n in range(100)]
    rng = np.random.default_rng(0)
    hits = [(rng.random(100) < level).tolist() for level in (0.1, 0.4, 0.7, 0.95)]
    same = subject.slope(hits, hits, families)
    assert [same.value, same.low, same.high, same.n] == pytest.approx([1, 1, 1, 100])
    half = [[hit and n % 2 == 0 for n, hit in enumerate(row)] for row in hits]
    fitted = subject.slope(hits, half, families)
    expected = np.polyfit([np.mean(row) for row in hits], [np.mean(row) for row in half], 1)[0]
    assert fitted.value == pytest.approx(expected)
    assert fitted.low < fitted.value < fitted.high
    wide = subject.slope(hits, half, [str(n % 4) for n in range(100)])
    assert wide.value == fitted.value


def test_abstention_is_scored_on_both_kinds_of_questions(result: dict[str, Any]) -> None:
    abstention = result["abstention"]
    assert abstention["recall"]["value"] == 1
    assert abstention["recall"]["n"] == len(UNANSWERABLE)
    assert abstention["needless"]["value"] == 0.5
    scores = abstention["scores"]
    assert scores["p_abstain"]["auroc"] == 0.75
    (point,) = scores["p_abstain"]["curve"]
    assert point == {"threshold": pytest.approx(0.1), "coverage": pytest.approx(5 / 14), "risk": 0, "answered": 5}
    assert all(point["threshold"] > 0 for point in scores["cosine"]["curve"])


def test_seconds_by_stage(result: dict[str, Any]) -> None:
    rows = result["latency"]["rows"]
    assert list(rows) == ["closed book", "1", "3", "8"]
    assert set(rows["3"]) == {"embedding", "search", "prompt", "generation", "total"}
    assert set(rows["closed book"]) == {"generation", "total"}
    for stages in rows.values():
        assert all(0 <= seconds["p50"] <= seconds["p95"] for seconds in stages.values())


def test_the_stored_study_is_up_to_date() -> None:
    path = data_dir() / "results" / "reading.json"
    assert path.exists(), AGAIN
    stored = json.loads(path.read_text("utf-8"))
    assert stored["n"] == len(load_questions("dev", kinds=["single"])), AGAIN
    assert stored["inputs"] == subject.inputs_hash(), AGAIN
