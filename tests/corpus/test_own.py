"""The learner's own files: whatever is in the folder, what can be read is read and the rest is named."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from workshop_utils.corpus import CorpusError, split_documents
from workshop_utils.corpus.own import decode, load_own_documents, load_own_questions, read_own_questions
from workshop_utils.corpus.questions import NO_ANSWER, Evidence
from workshop_utils.retrieval.dense import DenseRetriever, build_index

TEXT = "# Leave\n\nEverybody has 25 days of leave a year.\n"


def save(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def save_docx(path: Path) -> None:
    import docx

    document = docx.Document()
    document.add_heading("Travel", 1)
    document.add_paragraph("Trips of under 4 hours are made by rail.")
    document.save(str(path))


def save_pdf(path: Path, text: str | None) -> None:
    import fpdf

    page = fpdf.FPDF()
    page.add_page()
    if text is None:
        page.rect(10, 10, 50, 50)
    else:
        page.set_font("Helvetica", size=12)
        page.cell(text=text)
    page.output(str(path))


def findings(folder: Path, **options: Any) -> dict[str, tuple[str, bool]]:
    return {f.file: (f.text, f.left_out) for f in load_own_documents(folder, **options).findings}


def test_every_kind_of_file_becomes_a_document(tmp_path: Path) -> None:
    save(tmp_path, "leave.md", TEXT)
    save(tmp_path, "it/net work.txt", "The guest network is called Harbour.")
    save(
        tmp_path,
        "it/page.HTML",
        "<html><head><title>x</title><script>no()</script></head><body><h1>Café</h1>"
        "<p>Open at <b>11:30</b>.</p></body></html>",
    )
    save_docx(tmp_path / "travel.docx")
    save_pdf(tmp_path / "stairs.pdf", "The stairs are closed on Sundays.")
    own = load_own_documents(tmp_path)
    by_id = {document.id: document for document in own.documents}
    assert list(by_id) == ["it/net work.txt", "it/page.HTML", "leave.md", "stairs.pdf", "travel.docx"]
    assert own.findings == ()
    texts = {key: document.page_content for key, document in by_id.items()}
    assert texts["leave.md"] == TEXT
    assert texts["it/net work.txt"] == "# net work\n\nThe guest network is called Harbour.\n"
    assert texts["it/page.HTML"] == "# Café\n\nOpen at **11:30**.\n"
    assert "Trips of under 4 hours are made by rail." in texts["travel.docx"]
    assert "The stairs are closed on Sundays." in texts["stairs.pdf"]
    titles = [document.metadata["title"] for document in own.documents]
    assert titles == ["net work", "Café", "Leave", "stairs", "Travel"]
    assert [d.metadata["collection"] for d in own.documents] == ["it", "it", "own", "own", "own"]
    assert str(own).startswith("5 documents read, 0 files left out")


def test_the_documents_can_be_split_indexed_and_found(tmp_path: Path) -> None:
    from tests.tiny import HashEmbedder

    save(tmp_path / "files", "leave.md", TEXT)
    save(tmp_path / "files", "board.md", "---\nacl: [board]\n---\n# Secret\n\nThe plan.\n")
    passages = split_documents(load_own_documents(tmp_path / "files").documents)
    index = build_index(passages, HashEmbedder(), tmp_path / "index")
    (found,) = DenseRetriever(index=index).invoke("leave")
    assert (found.id, found.metadata["title"], found.metadata["source"]) == ("leave.md#00", "Leave", "leave.md")
    assert found.page_content == "Leave\nEverybody has 25 days of leave a year."
    assert len(DenseRetriever(index=index, groups=("board", "everyone")).invoke("plan")) == 2


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.md", "", "empty"),
        ("blank.txt", " \n\t\n", "empty"),
        ("huge.txt", "x" * 5001, "limit is 0.0 MB: split it"),
        ("picture.png", b"\x89PNG", "ending in .png are not read"),
        ("Makefile", "all:", "ending in nothing"),
        ("binary.txt", bytes(range(256)) * 8, "no text in any known encoding"),
        ("broken.docx", b"not a zip", "no office file"),
        ("broken.pdf", b"%PDF-1.4 nothing", "pdf|no text"),
        ("tags.html", "<html><script>x</script></html>", "no text"),
        ("acl.md", "---\nacl: everyone\n---\ntext", "acl must be a list"),
        ("noacl.md", "---\nacl: []\n---\ntext", "acl must be a list"),
    ],
)
def test_what_cannot_be_read_is_named_and_the_rest_goes_on(
    name: str, content: str | bytes, reason: str, tmp_path: Path
) -> None:
    import re

    save(tmp_path, "leave.md", TEXT)
    save(tmp_path, name, content)
    own = load_own_documents(tmp_path, max_bytes=5000)
    assert [document.id for document in own.documents] == ["leave.md"]
    (finding,) = own.findings
    assert (finding.file, finding.left_out) == (name, True)
    assert re.search(reason, finding.text)
    assert str(finding) in str(own)


def test_a_scan_without_text_is_named(tmp_path: Path) -> None:
    save(tmp_path, "leave.md", TEXT)
    save_pdf(tmp_path / "scan.pdf", None)
    text, left_out = findings(tmp_path)["scan.pdf"]
    assert left_out
    assert "no text; a scan" in text


def test_an_office_file_that_unpacks_to_a_gigabyte_is_left_out(tmp_path: Path) -> None:
    save(tmp_path, "leave.md", TEXT)
    with (
        zipfile.ZipFile(tmp_path / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("word/document.xml", "w") as part,
    ):
        for _ in range(220):
            part.write(b" " * 1_000_000)
    assert "unpacks to more than" in findings(tmp_path)["bomb.docx"][0]


def test_hidden_files_and_locks_are_passed_over(tmp_path: Path) -> None:
    save(tmp_path, "leave.md", TEXT)
    for name in (".git/config.md", ".hidden.md", "~$travel.docx"):
        save(tmp_path, name, "x")
    assert [d.id for d in load_own_documents(tmp_path).documents] == ["leave.md"]
    assert findings(tmp_path) == {}


@pytest.mark.skipif(os.name == "nt", reason="links need a right there that users lack")
def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    secret = save(tmp_path, "secret.md", "Not for you.")
    folder = tmp_path / "files"
    save(folder, "leave.md", TEXT)
    (folder / "link.md").symlink_to(secret)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "up").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(folder / "pipe.md")
    own = load_own_documents(folder)
    assert [d.id for d in own.documents] == ["leave.md"]
    assert {f.file for f in own.findings} == {"link.md", "pipe.md"}


def test_ids_that_are_taken_are_replaced_by_the_path(tmp_path: Path) -> None:
    save(tmp_path, "a.md", "---\nid: POL-1\n---\nFirst.")
    save(tmp_path, "b.md", "---\nid: POL-1\ntitle: Second policy\n---\nSecond.")
    save(tmp_path, "c.md", "---\nid: d.md\n---\nThird.")
    save(tmp_path, "d.md", "Fourth.")
    own = load_own_documents(tmp_path)
    assert [d.id for d in own.documents] == ["POL-1", "b.md", "d.md", "d.md~"]
    assert [d.metadata["title"] for d in own.documents] == ["a", "Second policy", "c", "d"]
    assert all("---" not in d.page_content for d in own.documents)
    assert {f.file: f.left_out for f in own.findings} == {"b.md": False, "d.md": False}
    assert "POL-1 is taken" in own.findings[0].text


@pytest.mark.parametrize("header", ["---\n: [\n---\n", "---\njust text\n---\n", "---\n", "--- \nid: X"])
def test_dashes_that_are_no_front_matter_are_text(header: str, tmp_path: Path) -> None:
    save(tmp_path, "a.md", f"{header}\nThe body.\n")
    (document,) = load_own_documents(tmp_path).documents
    assert document.id == "a.md"
    assert "The body." in document.page_content


SENTENCES = [
    ("Congé payé : 25 jours par an, à déposer 10 jours avant.", "cp1252"),
    ("Décès d\u2019un parent : 5 jours", "cp1252"),
    ("Größe: 5 µm", "cp1252"),
    ("Les congés payés sont de 25 jours. Ils sont déposés au moins dix jours avant le début.", "cp1252"),
    ("Entrée réduite après 18 heures : 3,20 euros. Carte d'été : 41 euros. Fermé à Noël.", "cp1252"),
    ("Příliš mnoho lidí: dovolená je 25 dní ročně a žádost se podává předem.", "cp1250"),
    ("Urlop wypoczynkowy: 26 dni w roku, wniosek składa się u przełożonego.", "cp1250"),
    ("price: 5 €", "cp1252"),
    ("Зарплата выплачивается 5 числа каждого месяца.", "cp1251"),
    ("有給休暇は年に25日です。申請はポータルから。", "cp932"),
    ("Déjà vu, 日本語", "utf-8"),
    ("Déjà vu, 日本語", "utf-8-sig"),
    ("Plain words and Déjà vu", "utf-16"),
    ("Plain words and Déjà vu", "utf-16-le"),
    ("Plain words and nothing else, in Latin letters", "utf-16-le"),
]


@pytest.mark.parametrize(("text", "encoding"), SENTENCES)
def test_encodings_are_recognised(text: str, encoding: str, tmp_path: Path) -> None:
    assert decode(text.encode(encoding))[0] == text
    save(tmp_path, "a.txt", text.encode(encoding))
    own = load_own_documents(tmp_path)
    assert own.documents[0].page_content == f"# a\n\n{text}\n"
    assert [f.left_out for f in own.findings] == ([] if encoding.startswith("utf-8") else [False])


def test_html_is_read_in_its_encoding(tmp_path: Path) -> None:
    page = '<html><head><meta charset="windows-1252"></head><body><p>Congé payé : 25 € l\u2019an</p></body></html>'
    save(tmp_path, "a.html", page.encode("cp1252"))
    save(tmp_path, "b.html", page.encode("utf-8"))  # the file is right and its header is wrong
    own = load_own_documents(tmp_path)
    assert [d.page_content.split("\n\n")[1] for d in own.documents] == ["Congé payé : 25 € l\u2019an\n"] * 2


def test_nothing_to_read_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="not a folder"):
        load_own_documents(tmp_path / "none")
    with pytest.raises(CorpusError, match="nothing to read"):
        load_own_documents(tmp_path)
    save(tmp_path, "empty.md", "")
    with pytest.raises(CorpusError, match=r"nothing to read(.|\n)*empty\.md: it is empty"):
        load_own_documents(tmp_path)


# -- questions --


def questions_file(folder: Path, *records: object) -> Path:
    return save(folder, "questions.jsonl", "\n".join(json.dumps(record) for record in records) + "\n")


def test_questions_with_answers_choices_and_sources(tmp_path: Path) -> None:
    save(tmp_path / "files", "leave.md", TEXT)
    save(tmp_path / "files", "it.md", "# Network\n\nThe guest network is called Harbour.")
    documents = load_own_documents(tmp_path / "files").documents
    path = questions_file(
        tmp_path,
        {"question": "How many days?", "answer": "25 days", "accept": ["25"], "sources": ["leave.md"]},
        {"question": "The network?", "choices": ["Port", "Harbour"], "choice": 1, "sources": ["it.md", "leave.md"]},
        {"question": "Which colour?", "answer": NO_ANSWER},
        {"question": "Which one?", "choices": ["x", "y"], "answer": "x"},
        {"question": "Another?", "answer": "  not word for word ", "sources": ["it.md"]},
    )
    first, second, third, fourth, fifth = load_own_questions(path, documents)
    assert (first.id, first.answer, first.accepted, first.kind) == ("own-1", "25 days", ("25 days", "25"), "single")
    assert first.evidence == (Evidence("leave.md", "25 days"),)
    assert (second.answer, second.choices, second.choice) == ("Harbour", ("Port", "Harbour"), 1)
    assert second.evidence == (Evidence("it.md", "Harbour"),)
    assert (third.kind, third.sources, third.evidence) == ("unanswerable", (), ())
    assert (fourth.answer, fourth.choice) == ("x", 0)
    assert (fifth.answer, fifth.evidence) == ("not word for word", ())
    # the first two share a document, and so do the second and the fifth
    assert first.family == second.family == fifth.family
    assert len({first.family, third.family, fourth.family}) == 3
    assert [q.evidence for q in load_own_questions(path)] == [()] * 5


def test_files_as_editors_write_them(tmp_path: Path) -> None:
    line = json.dumps({"question": "Où\u2028?", "answer": "là"}, ensure_ascii=False)
    path = save(tmp_path, "q.jsonl", b"\xef\xbb\xbf" + f"{line}\r\n\r\n{line}\r\n\n".encode())
    expected = [("own-1", "Où\u2028?", "là"), ("own-3", "Où\u2028?", "là")]
    assert [(q.id, q.question, q.answer) for q in load_own_questions(path)] == expected
    path.write_text(path.read_text("utf-8-sig"), "utf-16")  # as PowerShell writes it
    assert [(q.id, q.question, q.answer) for q in load_own_questions(path)] == expected


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"answer": "a"}, "question must be a text"),
        ({"question": " ", "answer": "a"}, "question must be a text"),
        ({"question": "q"}, "answer or choices is missing"),
        ({"question": "q", "answer": ""}, "answer must be a text"),
        ({"question": "q", "answer": 25}, "answer must be a text"),
        ({"question": "q", "answer": None}, "answer must be a text"),
        ({"question": "q", "choices": ["a"], "choice": 0}, "at least two different"),
        ({"question": "q", "choices": ["a", "a"], "choice": 0}, "at least two different"),
        ({"question": "q", "choices": "ab", "choice": 0}, "choices must be a list"),
        ({"question": "q", "choices": ["a", "b"]}, "choices need choice"),
        ({"question": "q", "choices": ["a", "b"], "choice": 2}, "from 0 to 1"),
        ({"question": "q", "choices": ["a", "b"], "choice": -1}, "from 0 to 1"),
        ({"question": "q", "choices": ["a", "b"], "choice": True}, "from 0 to 1"),
        ({"question": "q", "choices": ["a", "b"], "answer": "c"}, "none of the choices"),
        ({"question": "q", "choices": ["a", "b"], "answer": "a", "choice": 1}, "leave one out"),
        ({"question": "q", "answer": "a", "choice": 1}, "there are none"),
        ({"question": "q", "answer": "a", "sources": "leave.md"}, "sources must be a list"),
        ({"question": "q", "answer": "a", "sources": ["leav.md"]}, "no document is called 'leav.md'.*'leave.md'"),
        ({"question": "q", "answer": NO_ANSWER, "sources": ["leave.md"]}, "there can be no sources"),
        ({"question": "q", "answer": "a", "source": ["leave.md"]}, "unknown field source; there are .*sources"),
        (["q", "a"], "must be an object"),
        ("q", "must be an object"),
    ],
)
def test_a_faulty_line_is_named(record: object, reason: str, tmp_path: Path) -> None:
    save(tmp_path / "files", "leave.md", TEXT)
    path = questions_file(tmp_path, {"question": "q", "answer": "a"}, record)
    with pytest.raises(CorpusError, match=rf"questions\.jsonl, line 2: .*{reason}"):
        load_own_questions(path, load_own_documents(tmp_path / "files").documents)


def test_all_faulty_lines_are_named_at_once_but_not_a_thousand(tmp_path: Path) -> None:
    path = save(
        tmp_path, "q.jsonl", "{\n" + '{"question": "q", "answer": "a"}\n' + b"\xff\xfe\n".decode("latin-1") * 40
    )
    with pytest.raises(CorpusError) as caught:
        load_own_questions(path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert lines[0].startswith("q.jsonl, line 1: ")
    assert lines[1].startswith("q.jsonl, line 3: ")
    assert lines[-1] == "and 31 lines more"


def test_faulty_lines_can_be_left_out_and_told(tmp_path: Path) -> None:
    path = questions_file(
        tmp_path, {"question": "q", "answer": "a"}, {"question": "r"}, {"question": "s", "answer": "b"}
    )
    own = read_own_questions(path)
    assert [q.id for q in own.questions] == ["own-1", "own-3"]
    assert [(f.file, f.left_out) for f in own.findings] == [("questions.jsonl, line 2", True)]
    assert str(own).splitlines() == [
        "2 questions read, 1 lines left out",
        "  questions.jsonl, line 2: the field answer or choices is missing (left out)",
    ]
    with pytest.raises(CorpusError, match=r"has no questions(.|\n)*line 1: .*missing"):
        read_own_questions(questions_file(tmp_path, {"question": "r"}))


def test_ids_are_kept_and_none_is_given_twice(tmp_path: Path) -> None:
    lines = [{"id": key, "question": f"q{n}", "answer": "a"} for n, key in enumerate(["x", "own-3", "x", "own-3"])]
    own = read_own_questions(questions_file(tmp_path, *lines))
    assert [q.id for q in own.questions] == ["x", "own-3", "own-3~", "own-4"]
    assert [(f.file[-6:], f.left_out) for f in own.findings] == [("line 3", False), ("line 4", False)]
    assert len({q.family for q in own.questions}) == 4


def test_the_same_question_twice_is_one_family(tmp_path: Path) -> None:
    asked = ["How many days?", "how many  DAYS?", "How many hours?"]
    own = load_own_questions(questions_file(tmp_path, *({"question": text, "answer": "a"} for text in asked)))
    assert own[0].family == own[1].family != own[2].family


def test_a_document_called_like_a_question_connects_nothing(tmp_path: Path) -> None:
    save(tmp_path / "files", "a.md", "---\nid: own-1\n---\nText.")
    path = questions_file(
        tmp_path, {"question": "p", "answer": "a"}, {"question": "q", "answer": "a", "sources": ["own-1"]}
    )
    first, second = load_own_questions(path, load_own_documents(tmp_path / "files").documents)
    assert first.family != second.family


def test_no_file_and_no_questions(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="not there"):
        load_own_questions(tmp_path / "none.jsonl")
    with pytest.raises(CorpusError, match="no questions"):
        load_own_questions(save(tmp_path, "q.jsonl", "\n\n"))
    with pytest.raises(CorpusError, match="cannot be read: it is no text"):
        load_own_questions(save(tmp_path, "b.jsonl", bytes(range(256)) * 8))
