"""The dense index: equal to its passages, kept on disk, closed to those who may not read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_core.documents import Document

from tests.tiny import HashEmbedder
from workshop_utils.retrieval import (
    DenseRetriever,
    IndexDamagedError,
    IndexMismatchError,
    build_index,
    index_folder,
)
from workshop_utils.retrieval.bulk import BATCH


def passage(key: str, text: str, acl: tuple[str, ...] = ("everyone",)) -> Document:
    metadata = {"source": key, "title": f"Title {key}", "section": "", "position": 0, "acl": list(acl)}
    return Document(id=key, page_content=text, metadata=metadata)


ACLS = (("everyone",), ("hr",), ("it", "hr"), ("everyone", "it"))
PASSAGES = [passage(f"D-{n:02d}", f"Text number {n}: déjà vu, 日本語, \U0001f600", ACLS[n % 4]) for n in range(20)]


@pytest.fixture
def embedder() -> HashEmbedder:
    return HashEmbedder()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> object:
    return build_index(PASSAGES, HashEmbedder(), tmp_path_factory.mktemp("index"))


def search(index: object, question: str, k: int = 3, groups: tuple[str, ...] = ("everyone",)) -> list[Document]:
    return DenseRetriever(index=index, k=k, groups=groups).invoke(question)


# -- the index follows its passages --


def test_a_second_build_embeds_nothing(embedder: HashEmbedder, tmp_path: Path) -> None:
    build_index(PASSAGES, embedder, tmp_path)
    assert sorted(embedder.embedded) == sorted(p.page_content for p in PASSAGES)
    embedder.embedded.clear()
    build_index(PASSAGES, embedder, tmp_path)
    assert embedder.embedded == []


def test_only_what_changed_is_embedded_again(embedder: HashEmbedder, tmp_path: Path) -> None:
    build_index(PASSAGES, embedder, tmp_path)
    embedder.embedded.clear()
    changed = [passage("D-00", "A new text"), *PASSAGES[1:], passage("D-99", "One more")]
    index = build_index(changed, embedder, tmp_path)
    assert sorted(embedder.embedded) == ["A new text", "One more"]
    assert [p.id for p in search(index, "A new text", k=1)] == ["D-00"]
    assert PASSAGES[0].page_content not in {p.page_content for p in search(index, "x", k=50)}


def test_changed_access_rights_reach_the_index(embedder: HashEmbedder, tmp_path: Path) -> None:
    build_index(PASSAGES, embedder, tmp_path)
    closed = [passage("D-00", PASSAGES[0].page_content, ("board",)), *PASSAGES[1:]]
    index = build_index(closed, embedder, tmp_path)
    assert "D-00" not in {p.id for p in search(index, PASSAGES[0].page_content, k=50)}
    assert "D-00" in {p.id for p in search(index, "x", k=50, groups=("board",))}


def test_removed_passages_vanish(embedder: HashEmbedder, tmp_path: Path) -> None:
    build_index(PASSAGES, embedder, tmp_path)
    index = build_index(PASSAGES[5:], embedder, tmp_path)
    everybody = ("everyone", "hr", "it")
    assert {p.id for p in search(index, "x", k=50, groups=everybody)} == {p.id for p in PASSAGES[5:]}
    assert search(build_index([], embedder, tmp_path), "x", groups=everybody) == []


def test_an_empty_corpus_answers_with_nothing(embedder: HashEmbedder, tmp_path: Path) -> None:
    assert search(build_index([], embedder, tmp_path), "anything") == []


def test_a_build_that_was_interrupted_goes_on_where_it_stopped(tmp_path: Path) -> None:
    many = [passage(f"D-{n:03d}", f"Text {n}") for n in range(BATCH + 10)]

    class Interrupted(HashEmbedder):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            if self.embedded:
                raise KeyboardInterrupt
            return super().embed_documents(texts)

    with pytest.raises(KeyboardInterrupt):
        build_index(many, Interrupted(), tmp_path)
    embedder = HashEmbedder()
    index = build_index(many, embedder, tmp_path)
    assert len(embedder.embedded) == 10
    assert len(search(index, "x", k=500)) == len(many)


@pytest.mark.parametrize("other", [HashEmbedder(salt="other"), HashEmbedder(width=24)])
def test_another_embedder_is_refused_until_the_folder_is_deleted(
    other: HashEmbedder, embedder: HashEmbedder, tmp_path: Path
) -> None:
    folder = tmp_path / "index"
    build_index(PASSAGES, embedder, folder)
    with pytest.raises(
        IndexMismatchError, match=r"another embedder.*delete the folder.*choose another folder"
    ) as caught:
        build_index(PASSAGES, other, folder)
    assert str(folder) in str(caught.value)
    assert other.embedded == []
    # the old index is untouched, and the advice works in the same notebook
    assert len(search(build_index(PASSAGES, embedder, folder), "x", k=50)) == 10
    shutil.rmtree(folder)
    index = build_index(PASSAGES, other, folder)
    assert len(search(index, "x", k=50)) == 10
    assert (folder / "chroma.sqlite3").exists()


REOPEN = """
import sys
from pathlib import Path
from tests.retrieval.test_dense import PASSAGES, search
from tests.tiny import HashEmbedder
from workshop_utils.retrieval import build_index

embedder = HashEmbedder()
index = build_index(PASSAGES, embedder, Path(sys.argv[1]))
print(len(embedder.embedded), [p.id for p in search(index, PASSAGES[4].page_content, k=3)])
"""


def test_an_index_survives_the_process_that_made_it(embedder: HashEmbedder, tmp_path: Path) -> None:
    folder = tmp_path / "un index à moi"
    here = [p.id for p in search(build_index(PASSAGES, embedder, folder), PASSAGES[4].page_content)]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", REOPEN, str(folder)],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    assert done.stdout.strip() == f"0 {here}"


def test_the_index_is_kept_in_the_cache(
    embedder: HashEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path))
    build_index(PASSAGES, embedder)
    assert index_folder().is_relative_to(tmp_path)
    assert (index_folder() / "chroma.sqlite3").exists()


# -- a folder that is no index --


def garbage(database: Path) -> None:
    database.write_bytes(b"not a database" * 1000)


def truncate(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:5000])


def overwrite_the_middle(database: Path) -> None:
    data = bytearray(database.read_bytes())
    data[20_000:120_000] = b"\xff" * 100_000
    database.write_bytes(data)


@pytest.mark.parametrize("damage", [garbage, truncate, overwrite_the_middle])
def test_a_damaged_index_is_an_error_that_names_the_fix_and_the_fix_works(
    damage: Callable[[Path], None], embedder: HashEmbedder, tmp_path: Path
) -> None:
    build_index(PASSAGES, embedder, tmp_path / "made here")
    folder = shutil.copytree(tmp_path / "made here", tmp_path / "index")
    damage(folder / "chroma.sqlite3")
    for _ in range(2):
        with pytest.raises(IndexDamagedError, match=r"cannot be opened.*Delete the folder") as caught:
            build_index(PASSAGES, embedder, folder)
        assert str(folder) in str(caught.value)
    shutil.rmtree(folder)
    assert len(search(build_index(PASSAGES, embedder, folder), "x", k=50)) == 10


def test_a_file_in_the_folders_place_is_an_error_that_names_the_fix(embedder: HashEmbedder, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("here")
    with pytest.raises(IndexDamagedError, match="choose another"):
        build_index(PASSAGES, embedder, blocked)


# -- searching --


def test_the_best_passage_comes_first_with_its_cosine(index: object, embedder: HashEmbedder) -> None:
    question = PASSAGES[4].page_content
    passages, seconds = DenseRetriever(index=index, k=5).search(question)
    assert passages[0].id == "D-04"
    assert passages[0].page_content == question
    vector = embedder.embed_query(question)
    cosines = [sum(a * b for a, b in zip(vector, embedder.embed_query(p.page_content), strict=True)) for p in passages]
    assert [p.metadata["score"] for p in passages] == pytest.approx(cosines, abs=1e-5)
    assert cosines == sorted(cosines, reverse=True)
    assert set(seconds) == {"embedding", "search"}
    assert all(value >= 0 for value in seconds.values())


@pytest.mark.parametrize(
    "groups",
    [("everyone",), ("hr",), ("it",), ("hr", "it"), ("everyone", "hr", "it"), ("board",), ("board", "hr"), ()],
)
@pytest.mark.parametrize("k", [1, 3, 8, 50])
def test_nothing_comes_out_for_other_groups_and_k_counts_what_may_be_read(
    index: object, groups: tuple[str, ...], k: int
) -> None:
    readable = {p.id for p in PASSAGES if set(p.metadata["acl"]) & set(groups)}
    for question in ("x", PASSAGES[1].page_content, PASSAGES[2].page_content):
        found = search(index, question, k=k, groups=groups)
        assert {p.id for p in found} <= readable
        assert len(found) == min(k, len(readable))
        assert len({p.id for p in found}) == len(found)


@pytest.mark.parametrize("group", ["every", "Everyone", "everyone ", "h", "hr' OR '1'='1", '"', "$or", "", "*", "%"])
def test_a_group_must_be_named_exactly(index: object, group: str) -> None:
    assert search(index, "x", k=50, groups=(group,)) == []


def test_searching_does_not_change_the_index(index: object) -> None:
    first = search(index, "x")
    first[0].metadata["acl"].append("board")
    assert search(index, "x", groups=("board",)) == []


@pytest.mark.parametrize("question", ["", " ", "déjà vu", "\U0001f600" * 100, "a\0b", "word " * 5000])
def test_any_question_can_be_searched(index: object, question: str) -> None:
    assert len(search(index, question)) == 3


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be removed under an open database")
def test_an_index_deleted_under_an_open_one_is_built_again_on_disk(embedder: HashEmbedder, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    build_index(PASSAGES, embedder, folder)
    shutil.rmtree(folder)
    embedder.embedded.clear()
    build_index(PASSAGES, embedder, folder)
    assert len(embedder.embedded) == len(PASSAGES)
    assert (folder / "chroma.sqlite3").exists()
