"""Splitting: passages are short, lose nothing, and keep together what belongs together."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document

from workshop_utils.corpus import load_documents, load_questions, split_documents
from workshop_utils.corpus.splitting import count_words
from workshop_utils.rag.prompts import PASSAGE_TOKENS


def split(markdown: str, max_tokens: int = 20) -> list[Document]:
    document = Document(id="X-1", page_content=markdown, metadata={"title": "T", "acl": ["hr"], "version": 3})
    return split_documents([document], max_tokens)


def bodies(passages: list[Document]) -> list[str]:
    return [passage.page_content.split("\n", 1)[1] for passage in passages]


word = st.text("abcdéß日", min_size=1, max_size=6)
sentence = st.lists(word, min_size=1, max_size=12).map(lambda words: f"A{' '.join(words)}.")
paragraph = st.lists(sentence, min_size=1, max_size=6).map(" ".join)
bullets = st.lists(paragraph, min_size=1, max_size=6).map(lambda items: "\n".join(f"- {item}" for item in items))
table = st.lists(st.lists(word, min_size=2, max_size=2), min_size=1, max_size=12).map(
    lambda rows: "\n".join(["| head1 | head2 |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])
)
heading = st.tuples(st.sampled_from(["##", "###"]), word).map(" ".join)
markdowns = st.lists(st.one_of(paragraph, bullets, table, heading), min_size=1, max_size=8).map("\n\n".join)


def words(text: str) -> list[str]:
    return re.findall(r"[^\s|]+", text)


@pytest.mark.parametrize(
    ("text", "words"),
    [("Two words.", 3), ("don't", 3), ("休暇は25日、です。", 9), ("Wi-Fi と LAN", 5), ("วันลา", 5), ("", 0)],
)
def test_words_are_counted_also_where_no_space_is_between_them(text: str, words: int) -> None:
    assert count_words(text) == words


@given(markdowns, st.integers(8, 60))
def test_no_text_is_lost_or_reordered(markdown: str, max_tokens: int) -> None:
    text = "\n".join(line for line in markdown.split("\n") if not line.startswith("#"))
    got = "\n".join(bodies(split("# Title\n\n" + markdown, max_tokens)))
    heads = {"head1", "head2", "---"}  # these are repeated
    assert [w for w in words(got) if w not in heads] == [w for w in words(text) if w not in heads]


@given(markdowns)
def test_every_heading_above_a_text_stands_over_its_passage(markdown: str) -> None:
    above: list[tuple[int, str]] = []
    expected: dict[str, None] = {}
    for block in markdown.split("\n\n"):
        if block.startswith("#"):
            marks, name = block.split(" ", 1)
            above = [entry for entry in above if entry[0] < len(marks)] + [(len(marks), name)]
        else:
            expected[" > ".join(["T", *(name for _, name in above)])] = None
    assert list(dict.fromkeys(p.page_content.split("\n", 1)[0] for p in split(markdown))) == list(expected)


@given(markdowns, st.integers(8, 60))
def test_only_a_single_sentence_or_table_row_is_longer_than_asked(markdown: str, max_tokens: int) -> None:
    for body in bodies(split(markdown, max_tokens)):
        if count_words(body) <= max_tokens:
            continue
        if body.startswith("|"):
            assert len(body.split("\n")) == 3
        else:
            assert len(re.findall(r"\.(?=\s|$)", body)) == 1


@given(markdowns, st.integers(8, 60))
def test_every_piece_of_a_table_has_its_header(markdown: str, max_tokens: int) -> None:
    for body in bodies(split(markdown, max_tokens)):
        for block in body.split("\n\n"):
            if block.startswith("|"):
                assert block.startswith("| head1 | head2 |\n|---|---|\n| ")
                assert block.count("head1") == 1


def test_a_passage_knows_where_it_comes_from() -> None:
    first, second, third = split("# Own title\n\nIntro.\n\n## One\n\nText a.\n\n### Deep\n\nText b.\n")
    assert [p.page_content for p in (first, second, third)] == [
        "T\nIntro.",
        "T > One\nText a.",
        "T > One > Deep\nText b.",
    ]
    assert [p.id for p in (first, second, third)] == ["X-1#00", "X-1#01", "X-1#02"]
    assert second.metadata == {"title": "T", "acl": ["hr"], "source": "X-1", "section": "One", "position": 1}


def test_a_second_title_is_a_section_and_not_lost() -> None:
    passages = split("# Own title\n\na.\n\n# Part two\n\nb.\n\n## Inner\n\nc.")
    assert [p.metadata["section"] for p in passages] == ["", "Part two", "Part two > Inner"]


def test_a_document_without_text_gives_no_passage() -> None:
    assert split("# Title\n") == split("") == split_documents([]) == []


def test_a_longer_limit_gives_fewer_passages() -> None:
    text = "\n\n".join(f"Sentence number {n}. Another one." for n in range(20))
    lengths = [len(split(text, limit)) for limit in (8, 16, 40, 1000)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] == 1


@pytest.mark.parametrize("max_tokens", sorted({PASSAGE_TOKENS, 120}))
def test_the_companys_evidence_stands_whole_in_a_passage(max_tokens: int) -> None:
    passages = split_documents(load_documents(groups=None), max_tokens)
    assert len({p.id for p in passages}) == len(passages)
    cut = [
        question.id
        for split_name in ("train", "dev")
        for question in load_questions(split_name)
        for evidence in question.evidence
        if not any(evidence.span in p.page_content for p in passages if p.metadata["source"] == evidence.source)
    ]
    assert not cut


def test_no_sentence_ends_at_an_abbreviation_before_a_figure() -> None:
    text = "Mistakes are reported to the desk in Vernay, ext. 2463, before the 12th. The desk answers within 7 days."
    assert bodies(split(f"# T\n\n{text}", 18)) == [text[: text.index(" The desk")], text[text.index("The desk") :]]
