"""What is made from other files of data/ is what a build would make now."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from workshop_utils.authoring import datasets
from workshop_utils.corpus import data_dir


def test_derived_files_are_up_to_date() -> None:
    assert not datasets.outdated(data_dir()), "run: workshop data --build"


def test_data_takes_less_than_20_megabytes_and_each_adapter_less_than_5() -> None:
    sizes = {path.relative_to(data_dir()): path.stat().st_size for path in data_dir().rglob("*") if path.is_file()}
    adapters: Counter[str] = Counter()
    for path, size in sizes.items():
        if path.parts[0] == "adapters":
            adapters[path.parts[1]] += size
    assert max(adapters.values()) < 5e6, adapters
    assert sum(sizes.values()) - sum(adapters.values()) < 20e6


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(data_dir(), tmp_path / "data"))


def test_what_was_altered_lost_or_added_is_named_and_built_again(copy: Path) -> None:
    altered = copy / "tickets" / "dev.jsonl"
    altered.write_text(altered.read_text("utf-8").replace("Sorvane", "Sorvan", 1), "utf-8")
    lost = next((copy / "sources" / "sharepoint" / "files").rglob("*.docx"))
    lost.unlink()
    added = copy / "sources" / "confluence" / "pages" / "1.xhtml"
    added.write_text("<p>mine</p>", "utf-8")
    assert set(datasets.outdated(copy)) == {altered, lost, added}
    datasets.build(copy)
    assert not datasets.outdated(copy)
    assert not added.exists()


def test_a_changed_document_makes_its_page_out_of_date(copy: Path) -> None:
    path = copy / "documents" / "hr-policies" / "HR-01.md"
    path.write_text(path.read_text("utf-8") + "\nOne more sentence.\n", "utf-8")
    (page,) = datasets.outdated(copy)
    assert page.parent == copy / "sources" / "confluence" / "pages"
