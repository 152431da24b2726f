"""The retrieval explorer without a browser: what it finds, marks, keeps, and says."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document

from tests.tiny import HashEmbedder
from workshop_utils.messages import say
from workshop_utils.retrieval import build_index
from workshop_utils.widgets.retrieval_explorer import METHODS, Exploration, retrieval_explorer

subject = sys.modules[Exploration.__module__]  # the package has the widget under this name
ATTACK = "<script>alert(1)</script>"


class WordEmbedder(HashEmbedder):
    """Texts that share words are close: a vector with a place for each of these."""

    WORDS = ("leave", "days", "rate", "pump", "alarm")

    def embed_query(self, text: str) -> list[float]:
        counts = [float(word in text.lower()) for word in self.WORDS] + [0.1]
        length = sum(value * value for value in counts) ** 0.5
        return [value / length for value in counts]


def document(key: str, text: str, acl: str = "everyone") -> Document:
    metadata = {"title": f"About {key}", "collection": "c", "date": "2025-01-01", "status": "current", "acl": [acl]}
    return Document(id=key, page_content=f"# About {key}\n\n{text}\n", metadata=metadata)


DOCUMENTS = [
    document("A-1", "Nobody knows. Staff have 26 days of leave. The canteen opens at noon."),
    document("A-2", "The separate pump has a rate of 2.6 ml/h. An alarm sounds."),
    document("A-3", f"Ask {ATTACK} about leave."),
    document("A-4", "The secret leave of the board is 99 days of leave.", acl="hr"),
]


@pytest.fixture
def explorer(tmp_path: Path) -> Exploration:
    return Exploration(DOCUMENTS, WordEmbedder(), folder=tmp_path)


def marked(shown: str) -> list[str]:
    return re.findall(r"<mark>(.*?)</mark>", shown)


def ask(explorer: Exploration, question: str, **settings: Any) -> list[str]:
    explorer.question = question
    for name, value in settings.items():
        setattr(explorer, name, value)
    explorer.search()
    return [str(found.passage.id).split("#")[0] for found in explorer.found]


def test_dense_marks_the_sentence_closest_to_the_question(explorer: Exploration) -> None:
    assert ask(explorer, "how many days of leave?", k=1) == ["A-1"]
    assert marked(explorer.as_html()) == ["Staff have 26 days of leave."]
    assert say("retrieval_explorer.score_dense", score=explorer.found[0].score) in explorer.as_html()


def test_bm25_marks_shared_words_as_whole_words(explorer: Exploration) -> None:
    assert ask(explorer, "the rate of a pump", method="bm25", k=3) == ["A-2"]
    assert marked(explorer.as_html()) == ["pump", "rate"]  # not inside 'separate', and no stop words


@pytest.mark.parametrize("method", METHODS)
def test_what_the_reader_may_not_see_is_never_found(explorer: Exploration, method: str) -> None:
    found = ask(explorer, "secret days of leave of the board", method=method, k=10)
    assert found
    assert "A-4" not in found
    explorer.groups = ("everyone", "hr")
    explorer._sizes.clear()
    assert "A-4" in ask(explorer, "secret days of leave of the board", method=method, k=10)


def test_k_is_the_number_of_passages(explorer: Exploration) -> None:
    for k in (1, 2, 3):
        assert len(ask(explorer, "leave", k=k)) == k
        assert len(ask(explorer, "leave days pump", k=k, method="hybrid")) == k


def test_passages_of_a_length_are_embedded_once_for_all_times(explorer: Exploration, tmp_path: Path) -> None:
    def of_passages(embedder: HashEmbedder) -> int:
        return sum(text.startswith("About ") for text in embedder.embedded)

    embedder = explorer.embedder
    assert isinstance(embedder, WordEmbedder)
    ask(explorer, "leave")
    first = of_passages(embedder)
    assert first == len(DOCUMENTS)
    ask(explorer, "leave", size=8)
    second = of_passages(embedder)
    assert second > first
    ask(explorer, "pump", size=60)
    ask(explorer, "pump", size=8, k=5, method="hybrid")
    assert of_passages(embedder) == second
    for size in (60, 8):  # each length has a folder of its own
        later = WordEmbedder()
        ask(Exploration(DOCUMENTS, later, folder=tmp_path, size=size), "leave")
        assert of_passages(later) == 0


def test_an_index_is_opened_once(explorer: Exploration, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []

    def counted(passages: list[Document], embedder: HashEmbedder, folder: Path) -> Any:
        opened.append(folder)
        return build_index(passages, embedder, folder)

    monkeypatch.setattr(subject, "build_index", counted)
    for size in (60, 8, 60, 8):
        for method in METHODS:
            assert ask(explorer, "leave", size=size, method=method)
    assert len(opened) == 2


def test_documents_are_text_and_not_markup(explorer: Exploration) -> None:
    for method in METHODS:
        ask(explorer, "ask script alert about leave", method=method)
        shown = explorer.as_html()
        assert "script" in shown
        left = re.sub(r"</?(p|small|b|pre|mark)( style='[^']*')?>", "", shown)
        assert "<" not in left
        assert ">" not in left


@pytest.mark.parametrize("empty", ["", "  \n"])
def test_an_empty_question_is_not_searched(explorer: Exploration, empty: str) -> None:
    assert ask(explorer, empty) == []
    assert say("retrieval_explorer.empty") in explorer.as_html()


def test_no_word_in_common_is_said(explorer: Exploration) -> None:
    assert ask(explorer, "zzyzx", method="bm25") == []
    assert say("retrieval_explorer.nothing") in explorer.as_html()
    assert ask(explorer, "leave", method="dense")  # and it can be used again
    assert say("retrieval_explorer.nothing") not in explorer.as_html()


def test_an_index_of_another_embedder_is_told_and_not_used(tmp_path: Path) -> None:
    ask(Exploration(DOCUMENTS, WordEmbedder(), folder=tmp_path), "leave")
    other = Exploration(DOCUMENTS, HashEmbedder(width=6), folder=tmp_path)
    assert ask(other, "leave") == []
    assert "another embedder" in other.as_html()


def test_the_widget_searches_when_a_control_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path))
    widget = retrieval_explorer("how many days of leave?", DOCUMENTS, WordEmbedder())
    box, row, method, shown = widget.children
    k, size = row.children
    assert "26 days" in shown.value
    k.value = 1
    assert shown.value.count("<pre") == 1
    method.value = "bm25"
    assert {"days", "leave"} <= set(marked(shown.value))
    size.value = 30
    assert "26" in shown.value
    box.value = "rate of the pump"
    assert "2.6 ml/h" in shown.value
    box.value = ""
    assert say("retrieval_explorer.empty") in shown.value
