"""No real maker, device, drug, standard or program is named anywhere in data/ by accident."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workshop_utils.corpus import data_dir

LIST = Path(__file__).with_name("real_names.txt")
# what people read; sources/ repeats the documents, results/ holds figures
TEXTS = sorted(
    path
    for path in data_dir().rglob("*")
    if path.suffix in {".md", ".jsonl", ".json", ".yaml"}
    and not {"results", "sources", "adapters"} & set(path.relative_to(data_dir()).parts)
    and path.name not in {"DATASHEET.md", "LICENSE.md"}
)


def pattern(names: list[str]) -> re.Pattern[str]:
    """Whole words; a name in small letters also with capitals, since it may start a sentence."""
    forms = [re.escape(name) if name != name.lower() else f"(?i:{re.escape(name)})" for name in names]
    return re.compile(rf"(?<![\w-])(?:{'|'.join(forms)})(?![\w-])")


@pytest.fixture(scope="module")
def real_names() -> re.Pattern[str]:
    lines = LIST.read_text("utf-8").splitlines()
    return pattern([line for line in lines if line and not line.startswith("#")])


def test_the_list_finds_a_name(real_names: re.Pattern[str]) -> None:
    assert real_names.search("Heparin was given")
    assert real_names.search("opened in Excel-like Outlook")
    assert not real_names.search("the who's who of isolation; colistinate")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(data_dir())))
def test_no_real_name(path: Path, real_names: re.Pattern[str]) -> None:
    assert sorted({found[0] for found in real_names.finditer(path.read_text("utf-8"))}) == []
