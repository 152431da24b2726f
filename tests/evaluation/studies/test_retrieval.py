"""The study of finding: overlapping passages, its scoring with a stand-in embedder, and that the stored one is new."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.documents import Document
from rich.console import Console

from tests.tiny import HashEmbedder
from workshop_utils.corpus import data_dir, load_documents, split_documents
from workshop_utils.corpus.splitting import count_words
from workshop_utils.evaluation.rankings import answerable_questions
from workshop_utils.evaluation.studies import retrieval as subject
from workshop_utils.retrieval import Reranker, build_index

AGAIN = "run: workshop bench retrieval --json data/results/retrieval.json"


def document(text: str) -> Document:
    return Document(id="X-1", page_content=f"# Alarms\n\n{text}\n", metadata={"title": "Alarms"})


def test_overlapping_passages_begin_in_the_middle_of_the_one_before() -> None:
    sentences = [f"The alarm number {n} has priority {n}." for n in range(6)]
    passages = subject.overlapping([document(" ".join(sentences))], 16)
    assert [[n for n, s in enumerate(sentences) if s in p.page_content] for p in passages] == [
        [n, n + 1] for n in range(5)
    ]
    assert all(p.page_content.startswith("Alarms\n") for p in passages)
    assert all(p.page_content.count("Alarms\n") == 1 for p in passages)
    assert len({p.id for p in passages}) == len(passages)


def test_nothing_overlaps_from_one_section_into_the_next() -> None:
    text = "## One\n\nA first text.\n\n## Two\n\nA second text.\n\n## Three\n\nA third text. And another."
    passages = subject.overlapping([document(text)], 8)
    assert [p.page_content for p in passages] == [
        "Alarms > One\nA first text.",
        "Alarms > Two\nA second text.",
        "Alarms > Three\nA third text.\nAnd another.",
    ]


def test_a_table_that_goes_on_has_its_header_once() -> None:
    rows = [f"| T-{n} | long meaning {n} |" for n in range(6)]
    head = "| Code | Meaning |\n|---|---|"
    passages = subject.overlapping([document(f"## Codes\n\n{head}\n" + "\n".join(rows))], 44)
    assert [row for row in rows if row in passages[0].page_content] == rows[:3]
    assert len(passages) > 1
    for passage in passages:
        assert passage.page_content.startswith(f"Alarms > Codes\n{head}\n")
        assert passage.page_content.count("| Code |") == 1


@pytest.mark.parametrize("size", [30, 60])
def test_all_is_in_overlapping_passages_and_only_single_sentences_are_longer(size: int) -> None:
    documents = load_documents()[::8]
    units, passages = split_documents(documents, 1), subject.overlapping(documents, size)
    assert len({p.id for p in passages}) == len(passages)
    for unit in units:
        own = [p.page_content for p in passages if p.metadata["source"] == unit.metadata["source"]]
        assert any(unit.page_content.split("\n")[-1] in text for text in own)
    alone = {unit.page_content for unit in units}
    longer = [p for p in passages if count_words(p.page_content.split("\n", 1)[1]) > size]
    assert all(p.page_content in alone for p in longer)
    plain = len(split_documents(documents, size))
    assert plain < len(passages) < 2.5 * plain


class Words:
    """Counts a token a word."""

    def count_tokens(self, text: str) -> int:
        return len(text.split())


class Same(Reranker):
    """Leaves the order as it is, whatever it is made with."""

    def __init__(self, _: Any) -> None:
        pass

    def scores(self, question: str, passages: Any) -> list[float]:  # noqa: ARG002
        return [float(-place) for place in range(len(passages))]


@pytest.fixture
def result(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(subject, "load_embedder", HashEmbedder)
    monkeypatch.setattr(subject, "load_llm", lambda **_: Words())
    monkeypatch.setattr(subject, "build_index", lambda passages, embedder: build_index(passages, embedder, tmp_path))
    monkeypatch.setattr(subject, "load_documents", lambda **_: load_documents()[::10])
    monkeypatch.setattr(subject, "LateInteractionReranker", Same)
    monkeypatch.setattr(subject, "QueryLikelihoodReranker", Same)
    monkeypatch.setattr(subject, "SIZES", (30, 60))
    monkeypatch.delenv(subject.CROSS_ENCODER, raising=False)
    return subject.study(Console(quiet=True), every=10)


def test_the_figures_hang_together(result: dict[str, Any]) -> None:
    assert json.loads(json.dumps(result)) == result
    rows = {(row["size"], row["overlap"]): row for row in result["sizes"]}
    assert set(rows) == {(30, "none"), (30, "half"), (60, "none"), (60, "half")}
    assert [key for key, row in rows.items() if "difference" not in row] == [subject.BASE]
    for row in rows.values():
        assert row["hit@1"]["value"] <= row["hit@3"]["value"] <= row["hit@5"]["value"] <= row["whole"]["value"]
    # passages of half the length: more of them for the same tokens
    assert rows[30, "none"]["passages@budget"] > rows[60, "none"]["passages@budget"]
    assert rows[30, "none"]["tokens@3"] < rows[60, "none"]["tokens@3"]
    methods = result["methods"]
    assert list(methods) == ["dense", "BM25", "hybrid", "hybrid + late interaction", "hybrid + query likelihood"]
    assert "difference" not in methods["dense"]
    gain = methods["BM25"]["hit@3"]["value"] - methods["dense"]["hit@3"]["value"]
    assert methods["BM25"]["difference"]["hit@3"]["value"] == pytest.approx(gain)
    assert gain > 0  # the stand-in embeds at random, words are words
    # a reranker that changes nothing scores as what it reranks
    same = ("n", "hit@1", "hit@3", "hit@5", "MRR", "nDCG@5")
    assert [methods["hybrid + late interaction"][name] for name in same] == [methods["hybrid"][name] for name in same]
    assert methods["hybrid + query likelihood"]["n"] == -(-result["n"] // subject.LIKELIHOOD_STEP)
    for row in methods.values():
        assert 0 < row["milliseconds"]["p50"] <= row["milliseconds"]["p95"]
        for difference in row.get("difference", {}).values():
            assert difference["p"] <= difference["p_holm"] <= 1
    assert result["cross_encoder"].startswith("none offline")
    subject.table(result)


def test_a_cross_encoder_is_measured_where_a_folder_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv(subject.CROSS_ENCODER, str(tmp_path))
    monkeypatch.setattr(subject, "LateInteractionReranker", Same)
    passages = split_documents(load_documents()[:1], 60)
    monkeypatch.setattr(subject, "build_index", lambda passages, embedder: build_index(passages, embedder, tmp_path))
    names = [name for name, _, _ in subject._searches(passages, HashEmbedder(), Words())]  # type: ignore[arg-type]
    assert names[-1] == "hybrid + cross-encoder"


def test_the_stored_study_is_up_to_date() -> None:
    path = data_dir() / "results" / "retrieval.json"
    assert path.exists(), AGAIN
    stored = json.loads(path.read_text("utf-8"))
    assert stored["n"] == len(answerable_questions()), AGAIN
    assert stored["inputs"] == subject.inputs_hash(), AGAIN
