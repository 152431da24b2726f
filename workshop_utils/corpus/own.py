"""The learner's own documents and questions: a folder of files, and a JSONL file, in the form of the company's."""

from __future__ import annotations

import datetime as dt
import difflib
import json
import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from langchain_core.documents import Document

from workshop_utils.corpus.connectors.files import SUFFIXES, file_to_markdown
from workshop_utils.corpus.documents import EVERYONE, CorpusError
from workshop_utils.corpus.families import document_families
from workshop_utils.corpus.questions import NO_ANSWER, Evidence, Question

TEXT = {".md", ".txt"}
HTML = {".html", ".htm"}
MAX_BYTES = 20_000_000
# Windows' Western encoding: what a text is in that is not UTF-8 and where nothing else is likelier
WESTERN = "cp1252"
FIELDS = {"id", "question", "answer", "accept", "choices", "choice", "sources"}
SHOWN_FAULTS = 10


@dataclass(frozen=True)
class Finding:
    """Something to know about a file: why it was left out, or what was not as expected."""

    file: str
    text: str
    left_out: bool

    def __str__(self) -> str:
        return f"{self.file}: {self.text}{' (left out)' if self.left_out else ''}"


@dataclass(frozen=True)
class OwnDocuments:
    """The documents that could be read, sorted by file, and what there is to know about the files."""

    documents: tuple[Document, ...]
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        left_out = sum(finding.left_out for finding in self.findings)
        lines = [f"{len(self.documents)} documents read, {left_out} files left out"]
        return "\n".join([*lines, *(f"  {finding}" for finding in self.findings)])


@dataclass(frozen=True)
class OwnQuestions:
    """The questions that could be read, in the order of the file, and what there is to know about its lines."""

    questions: tuple[Question, ...]
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        left_out = sum(finding.left_out for finding in self.findings)
        lines = [f"{len(self.questions)} questions read, {left_out} lines left out"]
        return "\n".join([*lines, *(f"  {finding}" for finding in self.findings)])


def load_own_documents(folder: Path | str, *, max_bytes: int = MAX_BYTES) -> OwnDocuments:
    """Every md, txt, html, docx, pptx, xlsx and pdf file below a folder; a file that cannot be read is told, not fatal.

    Hidden files and those that office programs keep beside an open one are passed over, links out of the folder left
    out. An ``id``, ``title`` or ``acl`` in a text's YAML front matter is kept.

    Args:
        folder: of the files.
        max_bytes: larger files are left out.

    Returns:
        Documents with the file's path below the folder as ``id``, Markdown text, and the metadata that
        ``split_documents`` and the access filter need: ``title``, ``collection`` (the first folder below), ``date``
        (of the file's last change), ``status`` "current" and ``acl``, for everyone unless the file says otherwise.

    Raises:
        CorpusError: there is no such folder, or no file in it could be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise CorpusError(f"{root} is not a folder.")
    documents: dict[str, Document] = {}
    findings = []
    for path in _files(root):
        name = unicodedata.normalize("NFC", path.relative_to(root).as_posix())
        try:
            document, remarks = _read(root, path, name, max_bytes)
        except (ValueError, OSError) as error:
            findings.append(Finding(name, str(error), left_out=True))
            continue
        if document.id in documents:
            remarks.append(f"the id {document.id} is taken by another file; this one is called by its path")
            document.id = name
            while document.id in documents:
                document.id += "~"
        documents[str(document.id)] = document
        findings += [Finding(name, remark, left_out=False) for remark in remarks]
    result = OwnDocuments(tuple(documents.values()), tuple(findings))
    if not documents:
        raise CorpusError(f"In {root} there is nothing to read ({', '.join(sorted(SUFFIXES | HTML))}).\n{result}")
    return result


def _files(root: Path) -> Iterator[Path]:
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder) / name for name in names if not name.startswith((".", "~$"))]
    return iter(sorted(found))


def _read(root: Path, path: Path, name: str, max_bytes: int) -> tuple[Document, list[str]]:
    """A document, and remarks on it; ValueError or OSError for what cannot be read."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES | HTML:
        raise ValueError(f"files ending in {suffix or 'nothing'} are not read")
    if not path.resolve().is_relative_to(root.resolve()) or not path.is_file():
        raise ValueError("it is a link out of the folder, or no ordinary file")
    status = path.stat()
    if status.st_size > max_bytes:
        raise ValueError(f"it has {status.st_size / 1e6:,.1f} MB and the limit is {max_bytes / 1e6:,.1f} MB: split it")
    content = path.read_bytes()
    if not content.strip():
        raise ValueError("it is empty")
    header: dict[str, Any] = {}
    remarks = []
    title = path.stem.replace("_", " ").strip()
    if suffix in TEXT | HTML:
        text, encoding = decode(content)
        if encoding != "utf-8":
            remarks.append(f"it is not in UTF-8 and was read as {encoding}: look whether its accents are right")
        header, text = _front_matter(text) if suffix in TEXT else ({}, _from_html(text))
        title = str(header.get("title") or title)
        suffix, content = ".md", text.encode()
    markdown = file_to_markdown(f"_{suffix}", content, title)
    metadata = {
        "id": str(header.get("id") or name),
        "title": str(header.get("title") or markdown.split("\n", 1)[0].removeprefix("# ").strip()),
        "collection": name.split("/")[0] if "/" in name else "own",
        "date": dt.datetime.fromtimestamp(status.st_mtime, dt.UTC).date().isoformat(),
        "status": "current",
        "acl": _access(header),
    }
    return Document(id=metadata["id"], page_content=markdown, metadata=metadata), remarks


def _from_html(page: str) -> str:
    from markitdown.converters import HtmlConverter

    try:
        return str(HtmlConverter().convert_string(page).markdown)
    except Exception as error:  # whatever comes to the parser's mind
        raise ValueError(f"it cannot be read as html ({type(error).__name__}: {str(error)[:200]})") from error


def decode(content: bytes) -> tuple[str, str]:
    """The text of a file, and its encoding: UTF-8 if it can be, else what the bytes look like.

    Raises:
        ValueError: it looks like no text.
    """
    from charset_normalizer import from_bytes

    try:
        text = content.decode("utf-8-sig")
        if "\0" not in text:  # what UTF-16 has between its letters
            return text, "utf-8"
    except UnicodeDecodeError:
        pass
    best, western = from_bytes(content).best(), from_bytes(content, cp_isolation=[WESTERN]).best()
    # no language recognised, as in a line or two; or Windows' Central European, say, as likely as this and rarer
    if western and (not best or not best.coherence or (western.coherence >= best.coherence and not western.chaos)):
        best = western
    if best is None or "\0" in str(best):
        raise ValueError("it is no text in any known encoding: save it as UTF-8")
    return str(best), best.encoding


def _front_matter(text: str) -> tuple[dict[str, Any], str]:
    """(header, text below); an empty header where the text has none that is YAML."""
    lines = text.splitlines(keepends=True)
    marks = [number for number, line in enumerate(lines) if line.rstrip() == "---"][:2]
    if len(marks) < 2 or marks[0] != 0:
        return {}, text
    try:
        header = yaml.safe_load("".join(lines[1 : marks[1]]))
    except yaml.YAMLError:
        return {}, text
    return (header, "".join(lines[marks[1] + 1 :])) if isinstance(header, dict) else ({}, text)


def _access(header: dict[str, Any]) -> list[str]:
    groups = header.get("acl", [EVERYONE])
    if not isinstance(groups, list) or not groups or not all(isinstance(group, str) for group in groups):
        raise ValueError("its front matter's acl must be a list of at least one group: nobody could be let in safely")
    return groups


def load_own_questions(path: Path | str, documents: Iterable[Document] | None = None) -> list[Question]:
    """The learner's questions, all of them: as ``read_own_questions``, where a faulty line is an error.

    Raises:
        CorpusError: there is no such file, or it is not such a file; the message names each faulty line.
    """
    own = read_own_questions(path, documents)
    faults = [f"{finding.file}: {finding.text}" for finding in own.findings if finding.left_out]
    if faults:
        raise CorpusError(_listed(faults))
    return list(own.questions)


def read_own_questions(path: Path | str, documents: Iterable[Document] | None = None) -> OwnQuestions:
    """The learner's questions: a JSONL file with one object a line; a faulty line is told, not fatal.

    Fields: ``question``, and ``answer`` (a text; "not in the documents" for a question that they do not answer) or
    ``choices`` (at least two texts) with ``choice`` (the place of the right one, from 0) or with ``answer`` (one of
    them). Optional: ``id``; ``accept``, other right wordings; ``sources``, ids of the documents that hold the answer.
    Empty lines are passed over.

    Args:
        path: of the file.
        documents: when given, sources must be among them, and an answer that stands in a source word for word becomes
            the question's evidence.

    Returns:
        Questions with their ids, where they have none ``own-1``, ... by line; those that share a source or ask the
        same are one family.

    Raises:
        CorpusError: there is no such file, or no line of it is a question; the message names each faulty line.
    """
    file = Path(path)
    if not file.is_file():
        raise CorpusError(f"{file} is not there.")
    texts = None if documents is None else {str(document.id): document.page_content for document in documents}
    questions: dict[str, Question] = {}
    findings = []
    try:
        text, _ = decode(file.read_bytes())
    except (ValueError, OSError) as error:
        raise CorpusError(f"{file} cannot be read: {error}.") from error
    # not splitlines, which also cuts at U+2028 and other marks that may stand inside a JSON text
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            name = f"{file.name}, line {number}"
            try:
                question = _question(number, json.loads(line), texts)
            except ValueError as error:
                findings.append(Finding(name, str(error), left_out=True))
                continue
            key = question.id
            if key in questions:
                key = question.family
                while key in questions:
                    key += "~"
                findings.append(Finding(name, f"the id {question.id} is taken; this one is called {key}", False))
            questions[key] = replace(question, id=key)
    if not questions:
        faults = [f"{finding.file}: {finding.text}" for finding in findings]
        raise CorpusError(_listed([f"{file.name} has no questions.", *faults]))
    return OwnQuestions(tuple(_with_families(list(questions.values()))), tuple(findings))


def _listed(faults: list[str]) -> str:
    more = [f"and {len(faults) - SHOWN_FAULTS} lines more"] if len(faults) > SHOWN_FAULTS else []
    return "\n".join(faults[:SHOWN_FAULTS] + more)


def _question(number: int, record: Any, texts: dict[str, str] | None) -> Question:
    if not isinstance(record, dict):
        raise ValueError('a line must be an object such as {"question": "...", "answer": "..."}')
    if unknown := record.keys() - FIELDS:
        raise ValueError(f"unknown field {', '.join(sorted(unknown))}; there are {', '.join(sorted(FIELDS))}")
    question = _text(record, "question")
    accept, choices, sources = (_texts(record, name) for name in ("accept", "choices", "sources"))
    answer, choice = _answer(record, choices)
    if texts is not None:
        for source in sources:
            if source not in texts:
                near = difflib.get_close_matches(source, texts, n=1)
                raise ValueError(f"no document is called {source!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    answerable = answer != NO_ANSWER
    if not answerable and sources:
        raise ValueError(f"the answer is {NO_ANSWER!r}, so there can be no sources")
    spans = [source for source in sources if texts is not None and answer in texts[source]]
    return Question(
        id=_text(record, "id") if "id" in record else f"own-{number}",
        question=question,
        answer=answer,
        accept=accept,
        kind="single" if answerable else "unanswerable",
        sources=sources,
        evidence=tuple(Evidence(source, answer) for source in spans),
        choices=choices,
        choice=choice,
        family=f"own-{number}",
    )


def _answer(record: dict[str, Any], choices: tuple[str, ...]) -> tuple[str, int | None]:
    """The right answer, and its place among the choices, if there are any."""
    if not choices:
        if "choice" in record:
            raise ValueError("choice names one of the choices, and there are none")
        if "answer" not in record:
            raise ValueError("the field answer or choices is missing")
        return _text(record, "answer"), None
    if len(choices) < 2 or len(set(choices)) < len(choices):
        raise ValueError("choices must be at least two different texts")
    if "choice" not in record:
        if "answer" not in record:
            raise ValueError("choices need choice, the place of the right one counted from 0")
        answer = _text(record, "answer")
        if answer not in choices:
            raise ValueError(f"the answer {answer!r} is none of the choices")
        return answer, choices.index(answer)
    choice = record["choice"]
    if type(choice) is not int or not 0 <= choice < len(choices):
        raise ValueError(f"choice must be a number from 0 to {len(choices) - 1}")
    if "answer" in record and _text(record, "answer") != choices[choice]:
        raise ValueError("answer and choice name different answers: leave one out")
    return choices[choice], choice


def _text(record: dict[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a text that is not empty")
    return value.strip()


def _texts(record: dict[str, Any], name: str) -> tuple[str, ...]:
    value = record.get(name, [])
    # a lone text would become a list of its letters
    if not isinstance(value, list) or not all(isinstance(entry, str) and entry.strip() for entry in value):
        raise ValueError(f"{name} must be a list of texts, none of them empty")
    return tuple(unicodedata.normalize("NFC", entry.strip()) for entry in value)


def _with_families(questions: list[Question]) -> list[Question]:
    """Families by what connects questions: a source, or the same words. Each brings its own name as its family."""
    marked = [Document(id=q.family, page_content="", metadata={"family": q.family}) for q in questions]
    links = [
        (q.family, f"~asks {asked_words(q)}", *(f"~stands in {source}" for source in q.sources)) for q in questions
    ]
    families = document_families(marked, links)
    return [replace(question, family=families[question.family]) for question in questions]


def asked_words(question: Question) -> str:
    """What is asked, whatever the case and the spaces: the same for two questions that are one."""
    return " ".join(question.question.casefold().split())
