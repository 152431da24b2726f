"""Which files of data/ are made of which others."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from langchain_core.documents import Document

from workshop_utils.authoring.datasets import confluence, reader, sharepoint, tickets
from workshop_utils.corpus.documents import load_documents
from workshop_utils.corpus.updates import load_updates

SYSTEMS = ("confluence", "sharepoint")


def build(data: Path) -> list[Path]:
    """Make every file that follows from others anew, and return the folders written."""
    written = []
    with tempfile.TemporaryDirectory() as temporary:
        for made in _make(data, Path(temporary)):
            target = data / made.relative_to(temporary)
            if made.is_dir():
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(made, target)
            else:
                shutil.copyfile(made, target)
            written.append(target)
    return written


def outdated(data: Path) -> list[Path]:
    """Files that differ from what a build would write, are missing, or would not be there."""
    faults: list[Path] = []
    with tempfile.TemporaryDirectory() as temporary:
        for made in _make(data, Path(temporary)):
            target = data / made.relative_to(temporary)
            names = _files(made) | _files(target)
            faults += [target / name for name in sorted(names) if not _same(made / name, target / name)]
    return faults


def _make(data: Path, out: Path) -> Iterable[Path]:
    """Write the files and folders that follow from others under ``out``, as they lie under ``data``."""
    (out / "tickets").mkdir()
    for split, made in tickets.make_tickets(data / "tickets" / "stock").items():
        yield _jsonl(out / "tickets" / f"{split}.jsonl", [asdict(ticket) for ticket in made])
        if split == "train":
            wrong = tickets.wrong_records(made)
            records = [{"id": key, "record": asdict(record)} for key, record in wrong.items()]
            yield _jsonl(out / "tickets" / "train_wrong_labels.jsonl", records)
    (out / "reader").mkdir()
    for part, examples in reader.make_examples(data / "reader").items():
        rows = [asdict(e) | {"passages": [passage.id for passage in e.passages]} for e in examples]
        yield _jsonl(out / "reader" / f"{part}.jsonl", rows)
    documents = load_documents(data / "documents", groups=None)
    titles = {str(document.id): document.metadata["title"] for document in documents}
    yield from _sources(out / "sources", documents, titles)
    for update in load_updates(data / "updates"):
        titles |= {str(document.id): document.metadata["title"] for document in update.documents}
        yield from _sources(out / "updates" / update.date / "sources", update.documents, titles)


def _sources(folder: Path, documents: Sequence[Document], titles: dict[str, str]) -> Iterable[Path]:
    pages = [d for d in documents if d.metadata["collection"] in confluence.COLLECTIONS]
    files = [d for d in documents if d.metadata["collection"] in sharepoint.FOLDERS]
    confluence.write_space(folder / "confluence", pages, titles)
    sharepoint.write_library(folder / "sharepoint", files)
    yield from (folder / system for system in SYSTEMS)


def _jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def _files(path: Path) -> set[Path]:
    if path.is_dir():
        return {file.relative_to(path) for file in path.rglob("*") if file.is_file()}
    return {Path()}


def _same(made: Path, stored: Path) -> bool:
    """Whether two files are the same; office files by their parts, since compression differs between systems."""
    if not (made.is_file() and stored.is_file()):
        return False
    if made.read_bytes() == stored.read_bytes():
        return True
    return zipfile.is_zipfile(made) and zipfile.is_zipfile(stored) and _parts(made) == _parts(stored)


def _parts(path: Path) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]
