"""Somebody's own material: what cannot be used is told and survived, related questions stay together."""

from __future__ import annotations

import json
import os
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document

from tests.corpus.test_own import save, save_docx, save_pdf
from workshop_utils.corpus import Question, split_documents
from workshop_utils.corpus.documents import CorpusError
from workshop_utils.corpus.questions import NO_ANSWER, Evidence, golden_passages
from workshop_utils.corpus.splitting import count_words
from workshop_utils.errors import InputError
from workshop_utils.evaluation.compare.own_material import (
    as_asked,
    cut_long_sentences,
    judged,
    placed,
    read_own,
    smallest_difference,
    split,
)
from workshop_utils.rag.prompts import PASSAGE_TOKENS


def questions_file(folder: Path, *records: Any) -> Path:
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    return save(folder, "questions.jsonl", "\n".join(lines) + "\n")


def folder_of_all_kinds(tmp_path: Path) -> Path:
    """A folder in which half of the files can be used."""
    folder = tmp_path / "files"
    save(folder, "leave.md", "# Leave\n\nEverybody has 25 days of leave a year.\n")
    save(folder, "network.txt", "The guest network is called Harbour.")
    save(folder, "page.html", "<h1>Café</h1><p>Open at <b>11:30</b>.</p>")
    save_docx(folder / "travel.docx")
    save_pdf(folder / "stairs.pdf", "The stairs are closed on Sundays.")
    save(folder, "old.txt", "Congé payé : 12 jours par an, à déposer 10 jours avant.".encode("cp1252"))
    save_pdf(folder / "scan.pdf", None)
    save(folder, "empty.md", "")
    save(folder, "heading.md", "# Only a heading\n")
    save(folder, "broken.docx", b"no zip")
    save(folder, "photo.jpg", b"\xff\xd8")
    save(folder, "board.md", "---\nacl: [board]\n---\n# Board\n\nThe pay is 90.\n")
    save(folder, "a.md", "---\nid: X-1\n---\n# A\n\nThe first text.\n")
    save(folder, "b.md", "---\nid: X-1\n---\n# B\n\nThe second text.\n")
    huge = save(folder, "huge.md", "x")
    os.truncate(huge, 20_000_001)
    return folder


def test_what_cannot_be_used_is_told_and_survived(tmp_path: Path) -> None:
    folder = folder_of_all_kinds(tmp_path)
    path = questions_file(
        tmp_path,
        {"question": "How many days?", "answer": "25 days", "sources": ["leave.md"]},
        {"question": "No answer?"},
        {"question": "Scanned?", "answer": "x", "sources": ["scan.pdf"]},
        {"question": "Pay?", "answer": "90", "sources": ["board.md"]},
        "no json",
        {"id": "q", "question": "Network?", "answer": "Harbour", "sources": ["network.txt"]},
        {"id": "q", "question": "Café?", "choices": ["11:30", "12:00"], "choice": 0, "sources": ["page.html"]},
        {"question": "Colour?", "answer": NO_ANSWER},
        {"question": "why " * 500, "answer": "25", "sources": ["leave.md"]},
        {"question": "How long?", "answer": "long " * 50},
        {"question": "How long?", "answer": "long " * 50, "accept": ["short", "brief"], "sources": ["leave.md"]},
    )
    own = read_own(folder, path, count_words)
    ids = ["X-1", "b.md", "leave.md", "network.txt", "old.txt", "page.html", "stairs.pdf", "travel.docx"]
    assert sorted(str(document.id) for document in own.documents) == ids
    assert [question.id for question in own.questions] == ["own-1", "q", "own-7", "own-8", "own-11"]
    last = own.questions[-1]
    assert (last.answer, last.accepted) == ("short", ("short", ("long " * 50).strip(), "brief"))
    told = "\n".join(own.findings)
    for part in (
        "scan.pdf: it holds no text; a scan needs to be read by a program",
        "empty.md: it is empty (left out)",
        "heading.md: it has nothing but headings (left out)",
        "broken.docx: it is no office file, or damaged",
        "photo.jpg: files ending in .jpg are not read",
        "huge.md: it has 20.0 MB",
        "old.txt: it is not in UTF-8 and was read as cp1252",
        "b.md: the id X-1 is taken",
        "board.md: it is for board only",
        "line 2: the field answer or choices is missing (left out)",
        "line 3: no document is called 'scan.pdf'",
        "question own-4: its source board.md takes no part (left out)",
        "line 5: Expecting value",
        "line 7: the id q is taken; this one is called own-7",
        "question own-9: it or a choice of it has 500 tokens, and 400 is the most (left out)",
        "question own-10: its answer has 50 tokens; give one of at most 35",
    ):
        assert part in told, part


def test_questions_without_any_answer_are_an_error_that_says_what_to_add(tmp_path: Path) -> None:
    save(tmp_path / "files", "leave.md", "# Leave\n\n25 days.\n")
    save(tmp_path / "files", "board.md", "---\nacl: [board]\n---\n# Board\n\nThe pay is 90.\n")
    path = questions_file(
        tmp_path,
        {"question": "Colour?", "answer": NO_ANSWER},
        {"question": "Pay?", "answer": "90", "sources": ["board.md"]},
    )
    with pytest.raises(InputError, match=r"None of the 1 questions (.|\n)*\"sources\"(.|\n)*board\.md"):
        read_own(tmp_path / "files", path, count_words)
    with pytest.raises(CorpusError, match=r"no questions(.|\n)*line 1"):
        read_own(tmp_path / "files", questions_file(tmp_path, {"question": "q"}), count_words)


def test_documents_that_nobody_may_read_are_an_error(tmp_path: Path) -> None:
    save(tmp_path / "files", "board.md", "---\nacl: [board]\n---\n# Board\n\nThe pay is 90.\n")
    path = questions_file(tmp_path, {"question": "Pay?", "answer": "90"})
    with pytest.raises(CorpusError, match=r"nothing to compare on(.|\n)*board\.md: it is for board only"):
        read_own(tmp_path / "files", path, count_words)


def characters(text: str) -> int:
    return len(text)


def test_a_sentence_that_no_passage_could_hold_is_cut(tmp_path: Path) -> None:
    endless = "有給休暇は年に二十五日です" * 100
    words = " ".join(f"word{n}" for n in range(500))
    text = f"# T\n\nShort. And short.\n\n{endless}\n\n| a | b |\n|---|---|\n| {words} | x |\n"
    cut = cut_long_sentences(text, characters)
    assert cut.startswith("# T\n\nShort. And short.\n")
    assert "".join(cut.split()) == "".join(text.split())
    document = Document(id="a", page_content=cut, metadata={"title": "T"})
    assert max(len(p.page_content) for p in split_documents([document], PASSAGE_TOKENS)) < 800
    assert all(f"word{n}" in cut.split() for n in range(500))  # no word is cut
    fine = "# T\n\n" + "A sentence of some length that ends. " * 300 + "\n"
    assert cut_long_sentences(fine, characters) == fine

    save(tmp_path / "files", "ja.md", f"# 休暇\n\n{endless}\n")
    path = questions_file(tmp_path, {"question": "q", "answer": "a"})
    own = read_own(tmp_path / "files", path, characters)
    assert "ja.md: sentences of more than 400 tokens were cut" in own.findings
    table = "| " + " | ".join(["long head"] * 200) + " |\n|" + "---|" * 200 + "\n| x |\n"
    save(tmp_path / "files", "table.md", f"# Table\n\n{table}")
    assert any("table.md" in finding for finding in read_own(tmp_path / "files", path, characters).findings)


def test_a_passage_that_stays_too_long_is_left_out(tmp_path: Path) -> None:
    save(tmp_path / "files", "leave.md", "# Leave\n\n25 days.\n")
    headings = "\n\n".join(f"{'#' * level} {'h' * 380}" for level in (2, 3, 4))
    save(tmp_path / "files", "long.md", f"# Long\n\n{headings}\n\n{'Text. ' * 30}\n")
    own = read_own(tmp_path / "files", questions_file(tmp_path, {"question": "q", "answer": "a"}), characters)
    assert [document.id for document in own.documents] == ["leave.md"]
    (finding,) = own.findings
    assert finding.startswith("long.md: a passage, its headings or a table's head counted, has 1,")


def question(n: int, answer: str = "25 days", sources: tuple[str, ...] = (), **fields: Any) -> Question:
    given = {
        "id": f"own-{n}",
        "question": f"Question {n}?",
        "answer": answer,
        "accept": (),
        "kind": "unanswerable" if answer == NO_ANSWER else "single",
        "sources": sources,
        "evidence": (),
        "choices": (),
        "choice": None,
        "family": f"own-{n}",
    }
    return Question(**{**given, **fields})


def documents(**texts: str) -> list[Document]:
    return [
        Document(id=name, page_content=f"# {name}\n\n{text}\n", metadata={"title": name})
        for name, text in texts.items()
    ]


def test_evidence_is_found_where_none_is_named() -> None:
    texts = documents(
        leave="## Short\n\nHalf a day.\n\n## Yearly\n\nEverybody gets twenty-five days a year.",
        other="Harbour, 25 days.",
    )
    passages = split_documents(texts, PASSAGE_TOKENS)
    asked = [
        question(1, "25 days every year", ("leave",), question="How many days a year?"),  # in other words
        question(2, "harbour"),  # no source
        question(3, "nowhere"),
        question(4, NO_ANSWER),
    ]
    found = {q.id: passages[::-1] for q in asked}
    first, second, third, fourth = placed(asked, texts, found)
    assert golden_passages(first, passages) == {"leave#01"}
    assert first.sources == ("leave",)
    assert (second.sources, golden_passages(second, passages)) == (("other",), {"other#00"})
    assert (third.sources, third.evidence, third.family) == ((), (), "own-3")
    assert fourth == asked[3]


def test_questions_on_one_document_become_one_family_also_where_none_names_it() -> None:
    texts = documents(leave="Everybody has 25 days.", network="It is called Harbour.")
    passages = split_documents(texts, PASSAGE_TOKENS)
    asked = [question(1, "25 days", ("leave",)), question(2, "Everybody"), question(3, "Harbour")]
    rows = placed(asked, texts, {q.id: passages for q in asked})
    assert rows[0].family == rows[1].family != rows[2].family


def test_what_is_asked_keeps_the_sources_that_were_named() -> None:
    texts = documents(leave="Everybody has 25 days.")
    passages = split_documents(texts, PASSAGE_TOKENS)
    guessed = question(1, "25 days")
    (row,) = placed([guessed], texts, {"own-1": passages})
    assert row.sources == ("leave",)
    assert as_asked(guessed, row).sources == ()
    assert as_asked(guessed, row).evidence == ()
    # an answer that stands in the document but is cut in two by the passages: its document decides, no span
    cut = question(2, "x", ("leave",), evidence=(Evidence("leave", "25 days. Everybody"),))
    (row,) = placed([cut], texts, {"own-2": passages})
    assert as_asked(cut, row).evidence == ()
    assert as_asked(cut, row).sources == ("leave",)
    whole = question(3, "25 days", ("leave",), evidence=(Evidence("leave", "25 days"),))
    (row,) = placed([whole], texts, {"own-3": passages})
    assert as_asked(whole, row).evidence == whole.evidence


def of_families(*sizes: int, silent: int = 0) -> list[Question]:
    asked = [question(100 * f + n, family=f"f{f}") for f, size in enumerate(sizes) for n in range(size)]
    return asked + [question(9000 + n, NO_ANSWER) for n in range(silent)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sizes", [(1,) * 40, (5, 4, 3, 3, 2, 2, 1, 1, 1), (12, 1, 1, 1), (7, 7)])
def test_families_are_on_one_side_and_parts_have_their_sizes(sizes: tuple[int, ...], seed: int) -> None:
    asked = of_families(*sizes, silent=10)
    parts = split(asked, seed)
    assert sorted([*parts.train, *parts.test], key=lambda q: q.id) == sorted(asked, key=lambda q: q.id)
    assert not {q.family for q in parts.train} & {q.family for q in parts.test}
    train = [q for q in parts.train if q.answerable]
    share = len(train) / sum(sizes)
    assert abs(share - 0.6) <= max(sizes) / sum(sizes) + 1e-9
    assert 0 < len(train) < sum(sizes)
    assert sum(not q.answerable for q in parts.train) == 6
    assert split(asked, seed) == parts


def test_the_split_is_drawn() -> None:
    asked = of_families(*(1,) * 30)
    assert split(asked, 0) != split(asked, 1)


def test_one_family_is_asked_and_not_trained_on() -> None:
    parts = split(of_families(9, silent=1))
    assert (parts.train, len(parts.test)) == ((), 10)


@pytest.mark.parametrize(("pairs", "disagreement"), [(60, 0.4), (200, 0.3), (1000, 0.1)])
def test_the_smallest_difference_is_found_as_often_as_it_says(pairs: int, disagreement: float) -> None:
    difference = smallest_difference(pairs, disagreement)
    assert difference is not None
    rng = np.random.default_rng(0)
    better, worse = (disagreement + difference) / 2, (disagreement - difference) / 2
    counts = rng.multinomial(pairs, [better, worse, 1 - disagreement], size=20_000)
    z = (counts[:, 0] - counts[:, 1]) / np.sqrt(np.maximum(counts[:, 0] + counts[:, 1], 1))  # McNemar, uncorrected
    found = float((np.abs(z) > NormalDist().inv_cdf(0.975)).mean())
    assert found == pytest.approx(0.8, abs=0.03)


def test_too_few_pairs_show_no_difference() -> None:
    assert [smallest_difference(n) for n in (0, 1, 3, 8)] == [None] * 4
    found = [smallest_difference(n) for n in (20, 50, 200, 10_000)]
    assert found == sorted(found, key=lambda one: -(one or 0))
    assert all(found)


def test_too_few_questions_or_families_are_said_to_be_too_few() -> None:
    few = judged(of_families(*(1,) * 19, silent=30))
    assert (few["questions"], few["families"], few["enough"]) == (19, 19, False)
    assert "too few to conclude anything. Read the answers, not the figures." in str(few["says"])
    together = judged(of_families(*(10,) * 7))
    assert (together["questions"], together["families"], together["enough"]) == (70, 7, False)
    assert "the difference cannot be told at all" in str(together["says"])
    enough = judged(of_families(*(3,) * 40))
    assert enough["enough"] is True
    assert "too few" not in str(enough["says"])
    assert "must be 16 percentage points" in str(enough["says"])
    assert "all wrong, the difference must be 27 points" in str(enough["says"])
    assert "No difference between two arms" in str(judged(of_families(2))["says"])
