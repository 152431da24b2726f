"""data/DATASHEET.md says what the files are: its counts, its examples and its lists of fields."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from langchain_core.documents import Document

from workshop_utils.corpus import COLLECTIONS, Question, data_dir
from workshop_utils.corpus.documents import KEYS
from workshop_utils.corpus.overview import load_sets
from workshop_utils.corpus.questions import KINDS, Split
from workshop_utils.evaluation.studies.data import as_markdown, inputs_hash


@pytest.fixture(scope="module")
def sheet() -> str:
    return (data_dir() / "DATASHEET.md").read_text("utf-8")


def first_column(sheet: str, header: str) -> list[str]:
    """The code words in the first column of the table that starts with this header row."""
    table = sheet.split(f"{header}\n", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `(\w+)` \|", table, re.M)


def counts(splits: dict[Split, list[Question]], documents: dict[str, Document]) -> str:
    """The table of counts, as Markdown."""

    def row(name: str, of: dict[Split, int], total: int) -> str:
        return f"| {name} | {' | '.join(str(of[split]) for split in splits)} | {total} |"

    def largest(part: list[Question]) -> int:
        return max(Counter(question.family for question in part).values())

    every = [question for part in splits.values() for question in part]
    lines = [f"| | {' | '.join(splits)} | all |", "|---" * (len(splits) + 2) + "|"]
    for kind in (kind for kind in KINDS if any(question.kind == kind for question in every)):
        of = {split: sum(question.kind == kind for question in part) for split, part in splits.items()}
        lines.append(row(f"questions of kind `{kind}`", of, sum(of.values())))
    lines.append(row("questions", {split: len(part) for split, part in splits.items()}, len(every)))
    families = {split: len({question.family for question in part}) for split, part in splits.items()}
    lines.append(row("families", families, sum(families.values())))
    lines.append(
        row("questions of the largest family", {split: largest(part) for split, part in splits.items()}, largest(every))
    )
    gap = " |" * len(splits)
    number = Counter(document.metadata["collection"] for document in documents.values())
    lines += [f"| documents in `{name}` |{gap} {number[name]} |" for name in COLLECTIONS]
    lines.append(f"| documents |{gap} {len(documents)} |")
    return "\n".join(lines)


def test_counts(sheet: str, splits: dict[Split, list[Question]], documents: dict[str, Document]) -> None:
    stored = sheet.split("<!-- counts -->\n", 1)[1].split("\n<!-- /counts -->", 1)[0]
    expected = counts(splits, documents)
    assert stored == expected, f"put this table between the counts marks of data/DATASHEET.md:\n{expected}"


def sets_table() -> str:
    """The table of the other sets, as Markdown."""
    sizes = {
        one.name: {split: len(texts) for split, texts in one.texts.items()}
        for one in load_sets()
        if one.name not in ("documents", "questions")
    }
    lines = ["| | train | dev | test | all |", "|---" * 5 + "|"]
    for name, size in sizes.items():
        cells = " | ".join(str(size.get(split, "")) for split in ("train", "dev", "test"))
        lines.append(f"| {name} | {cells} | {sum(size.values())} |".replace("|  |", "| |").replace("|  |", "| |"))
    return "\n".join(lines)


def test_table_of_sets(sheet: str) -> None:
    stored = sheet.split("<!-- sets -->\n", 1)[1].split("<!-- /sets -->", 1)[0].strip()
    expected = sets_table()
    assert stored == expected, f"put this table between the sets marks of data/DATASHEET.md:\n{expected}"


def test_report_is_that_of_the_stored_results(sheet: str) -> None:
    stored = sheet.split("<!-- report -->\n", 1)[1].split("<!-- /report -->", 1)[0].strip()
    result = json.loads((data_dir() / "results" / "data.json").read_text("utf-8"))
    assert result["inputs"] == inputs_hash(), "run: workshop bench data --json data/results/data.json"
    assert stored == as_markdown(result), f"put this between the report marks:\n{as_markdown(result)}"


def test_lists_of_fields(sheet: str) -> None:
    assert first_column(sheet, "| key | meaning |") == list(KEYS)
    assert first_column(sheet, "| field | meaning |") == [field.name for field in fields(Question)]
    assert set(first_column(sheet, "| kind | what it tests | answer |")) == set(KINDS)


def test_examples_are_stored_ones(sheet: str, splits: dict[Split, list[Question]], document_paths: list[Path]) -> None:
    front, record = (re.findall(rf"```{language}\n(.*?)```", sheet, re.S)[0] for language in ("yaml", "json"))
    path = next(path for path in document_paths if path.stem == yaml.safe_load(front)["id"])
    assert path.read_text("utf-8").startswith(f"---\n{front}---\n")
    lines = [
        line
        for split in splits
        for line in (data_dir() / "questions" / f"{split}.jsonl").read_text("utf-8").splitlines()
    ]
    assert json.loads(record) in [json.loads(line) for line in lines]
