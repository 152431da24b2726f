"""An index that is kept equal to its sources, whatever happens to them and to the run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import chromadb
import httpx
import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document

from tests.serving import small_company
from tests.serving.small_company import after, document
from tests.serving.standin import StandIn
from tests.tiny import HashEmbedder
from workshop_utils.authoring.datasets import office
from workshop_utils.corpus import split_documents
from workshop_utils.corpus.connectors import Change, Checkpoint, Deletion, Event, Failure, SourceError
from workshop_utils.retrieval import DenseRetriever, IndexMismatchError
from workshop_utils.retrieval.dense import open_index
from workshop_utils.retrieval.record_manager import SqliteRecordManager
from workshop_utils.retrieval.sync import BATCH, Sync, SyncBusyError, SyncReport

Content = set[tuple[str, str, tuple[str, ...], int]]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_company.write(tmp_path_factory.mktemp("company"))


@pytest.fixture
def stand_in(company: Path) -> Iterator[StandIn]:
    with StandIn(company) as server:
        yield server


@pytest.fixture
def embedder() -> HashEmbedder:
    return HashEmbedder()


def in_memory(embedder: HashEmbedder) -> Chroma:
    """An index that is not on disk, for tests that make many."""
    from uuid import uuid4

    return Chroma(collection_name=f"t{uuid4().hex}", embedding_function=embedder, client=chromadb.EphemeralClient())


def content(index: Chroma) -> Content:
    """What an index holds, without ids and scores; fails if anything is there twice."""
    stored = index.get(include=["documents", "metadatas"])
    found = [
        (data["source"], text, tuple(data["acl"]), data["position"])
        for text, data in zip(stored["documents"], stored["metadatas"], strict=True)
    ]
    assert len(set(found)) == len(found)
    return set(found)


def fresh(stand_in: StandIn, **settings: Any) -> Content:
    """What an index made from nothing would hold."""
    hook, stand_in.before = stand_in.before, lambda _: None
    documents = [*stand_in.pages(**settings).load(), *stand_in.files().load()]
    stand_in.before = hook
    return {
        (one.metadata["source"], one.page_content, tuple(one.metadata["acl"]), one.metadata["position"])
        for one in split_documents(documents)
    }


def both(stand_in: StandIn, index: Chroma, folder: Path) -> Sync:
    return Sync([stand_in.pages(), stand_in.files()], index, folder)


def counts(report: SyncReport) -> tuple[int, int, int, int]:
    return report.added, report.updated, report.deleted, report.skipped


# -- the index follows --


@pytest.mark.parametrize("api", ["v1", "v2"])
@pytest.mark.parametrize("attachments", [False, True])
def test_after_every_batch_the_index_equals_a_fresh_build(
    stand_in: StandIn, embedder: HashEmbedder, tmp_path: Path, api: str, attachments: bool
) -> None:
    index = open_index(embedder, tmp_path)
    settings = {"api": api, "attachments": attachments}
    sync = Sync([stand_in.pages(**settings), stand_in.files()], index, tmp_path)
    files = int(attachments)
    assert counts(sync.run()) == (len(after(0)) + files, 0, 0, 0)
    assert content(index) == fresh(stand_in, **settings)
    assert counts(sync.run()) == (0, 0, 0, 0)
    stand_in.systems.advance()
    assert counts(sync.run()) == (1, 2, 1, 0)
    assert content(index) == fresh(stand_in, **settings)
    stand_in.systems.advance()
    assert counts(sync.run()) == (1, 2, 1 + files, 0)
    assert content(index) == fresh(stand_in, **settings)
    assert {source for source, *_ in content(index)} == after(2).keys()
    embedder.embedded.clear()
    assert counts(sync.run()) == (0, 0, 0, 0)
    assert embedder.embedded == []


CHANGES: dict[str, Callable[[StandIn], object]] = {
    "edit": lambda s: s.systems.edit("HR-01", "26 days", "27 days"),
    "rename a page": lambda s: s.systems.rename("IT-01", "Other hours"),
    "rename a file": lambda s: s.systems.rename("PM-01", "Another title"),
    "restrict a page": lambda s: s.systems.restrict("HR-01", ["hr"]),
    "restrict a file": lambda s: s.systems.restrict("PM-01", ["qra", "legal"]),
    "open a page": lambda s: s.systems.restrict("HR-02", []),
    "open a file": lambda s: s.systems.restrict("PM-02", []),
    "delete a page": lambda s: s.systems.delete("KB-101"),
    "delete a file": lambda s: s.systems.delete("PM-01"),
    "add a page": lambda s: s.systems.add_page("", "New", "<p>New words.</p>", groups=["hr"]),
    "replace a file": lambda s: s.systems.replace_file("PM-01", office.xlsx_file(document("PM-01", "Now 70 ml."))),
    "empty a page": lambda s: s.systems._save(s.systems._page("HR-01"), body="<p></p>"),
    "break a page": lambda s: s.systems._save(s.systems._page("HR-01"), body="<p>"),
    "break a file": lambda s: s.systems.replace_file("PM-01", b"broken"),
    "a batch": lambda s: s.systems.advance(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_reaches_the_index(stand_in: StandIn, embedder: HashEmbedder, tmp_path: Path, change: str) -> None:
    index = in_memory(embedder)
    sync = both(stand_in, index, tmp_path)
    sync.run()
    before = content(index)
    CHANGES[change](stand_in)
    report = sync.run()
    assert content(index) == fresh(stand_in)
    assert content(index) != before
    assert len(report.failed) == change.startswith("break")
    assert counts(sync.run()) == (0, 0, 0, 0)


def test_a_reader_who_lost_the_right_finds_nothing_and_one_who_got_it_does(
    stand_in: StandIn, embedder: HashEmbedder, tmp_path: Path
) -> None:
    index = in_memory(embedder)
    sync = both(stand_in, index, tmp_path)

    def sources(*groups: str) -> set[str]:
        found = DenseRetriever(index=index, k=100, groups=groups).invoke("x")
        return {one.metadata["source"] for one in found}

    sync.run()
    assert sources("everyone") == {"HR-01", "IT-01", "KB-101", "PM-01"}
    assert sources("hr") == {"HR-02"}
    stand_in.systems.restrict("HR-01", ["legal"])
    stand_in.systems.restrict("HR-02", ["it-admins"])
    stand_in.systems.delete("PM-01")
    sync.run()
    assert sources("everyone") == {"IT-01", "KB-101"}
    assert sources("hr") == set()
    assert sources("legal", "it-admins") == {"HR-01", "HR-02"}
    assert sources() == set()


def test_only_what_changed_is_embedded(stand_in: StandIn, embedder: HashEmbedder, tmp_path: Path) -> None:
    index = in_memory(embedder)
    sync = both(stand_in, index, tmp_path)
    sync.run()
    embedder.embedded.clear()
    stand_in.systems.edit("HR-01", "ask early", "ask late")
    report = sync.run()
    assert report.embedded == len(embedder.embedded) == 1  # of two passages
    assert "ask late" in embedder.embedded[0]


def test_the_index_and_the_state_outlive_the_process(stand_in: StandIn, embedder: HashEmbedder, tmp_path: Path) -> None:
    both(stand_in, open_index(embedder, tmp_path), tmp_path).run()
    stand_in.systems.advance()
    stand_in.asked.clear()
    index = open_index(HashEmbedder(), tmp_path)
    assert counts(both(stand_in, index, tmp_path).run()) == (1, 2, 1, 0)
    assert content(index) == fresh(stand_in)
    with pytest.raises(IndexMismatchError, match="another embedder"):
        open_index(HashEmbedder(salt="other"), tmp_path)


# -- interrupted anywhere --


class StoppedError(Exception):
    """A run is cut off."""


def stop(*_: object, **__: object) -> None:
    raise StoppedError


class Tripwire:
    """Raises at the n-th of all the calls that go through it."""

    def __init__(self) -> None:
        self.calls, self.at = 0, -1

    def step(self) -> None:
        self.calls += 1
        if self.calls - 1 == self.at:
            raise StoppedError

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """Stops before the call or after it."""

        def guarded(*args: Any, **keywords: Any) -> Any:
            self.step()
            result = call(*args, **keywords)
            self.step()
            return result

        return guarded


WRITES = ("update", "delete_keys", "begin", "settle")


def trip(monkeypatch: pytest.MonkeyPatch, stand_in: StandIn, index: Chroma) -> Tripwire:
    """A wire through every request, every write to the index and every write to the records."""
    wire = Tripwire()

    def step(_: httpx.Request) -> None:
        wire.step()

    stand_in.before = step
    collection = index._collection
    for name in ("upsert", "delete"):
        monkeypatch.setattr(type(collection), name, wire.around(getattr(type(collection), name)))
    for name in WRITES:
        monkeypatch.setattr(SqliteRecordManager, name, wire.around(getattr(SqliteRecordManager, name)))
    return wire


def second_batch(stand_in: StandIn) -> None:
    stand_in.systems.advance()


def back_again(stand_in: StandIn) -> None:
    """The rights go back to what they were before the run that was cut off."""
    stand_in.systems.restrict("HR-02", ["hr", "legal"])
    stand_in.systems.restrict("PM-02", ["heron-team", "qra"])


def nothing(_: StandIn) -> None:
    """Nothing happens at the source meanwhile."""


def first_changes(stand_in: StandIn) -> None:
    stand_in.systems.advance()
    stand_in.systems.restrict("HR-02", [])
    stand_in.systems.restrict("PM-02", [])


@pytest.mark.parametrize(
    ("started", "meanwhile", "stride"),
    [
        (True, back_again, 3),
        pytest.param(True, back_again, 1, marks=pytest.mark.slow),
        pytest.param(True, nothing, 1, marks=pytest.mark.slow),
        pytest.param(True, second_batch, 1, marks=pytest.mark.slow),
        pytest.param(False, nothing, 1, marks=pytest.mark.slow),
        pytest.param(False, second_batch, 1, marks=pytest.mark.slow),
    ],
)
def test_a_run_cut_off_anywhere_is_completed_by_the_next(
    company: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    started: bool,
    meanwhile: Callable[[StandIn], None],
    stride: int,
) -> None:
    monkeypatch.setattr("workshop_utils.retrieval.sync.BATCH", 2)
    at, cut = 0, True
    while cut:
        index, folder = in_memory(HashEmbedder()), tmp_path / str(at)
        with StandIn(company) as stand_in:
            if started:
                both(stand_in, index, folder).run()
                first_changes(stand_in)
            with monkeypatch.context() as patch:
                trip(patch, stand_in, index).at = at
                try:
                    both(stand_in, index, folder).run()
                    cut = False
                except StoppedError:
                    pass
            stand_in.before = lambda _: None
            meanwhile(stand_in)
            both(stand_in, index, folder).run()
            assert content(index) == fresh(stand_in), f"cut off at step {at}"
            assert counts(both(stand_in, index, folder).run()) == (0, 0, 0, 0)
        at += stride
    assert at > 50


def test_a_source_that_fails_for_good_does_not_keep_the_others_back(
    stand_in: StandIn, embedder: HashEmbedder, tmp_path: Path
) -> None:
    index = in_memory(embedder)
    sync = Sync([stand_in.pages(token="wrong"), stand_in.files()], index, tmp_path)
    with pytest.raises(SourceError, match="token is refused"):
        sync.run()
    assert {source for source, *_ in content(index)} == {"PM-01", "PM-02"}


def test_the_state_advances_only_when_the_index_holds_the_change(
    stand_in: StandIn, embedder: HashEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = in_memory(embedder)
    sync = Sync([stand_in.files()], index, tmp_path)
    sync.run()
    records = SqliteRecordManager(sync.path, stand_in.files().name)
    state, begun = records.settled()
    assert begun == set()
    stand_in.systems.advance()
    with monkeypatch.context() as patch:
        patch.setattr(type(index), "add_documents", stop)
        with pytest.raises(StoppedError):
            sync.run()
    assert records.settled() == (state, {"PM-01"})
    sync.run()
    assert records.settled()[0] != state


# -- an index and records that do not agree --


def test_passages_that_vanished_are_brought_back(stand_in: StandIn, embedder: HashEmbedder, tmp_path: Path) -> None:
    index = in_memory(embedder)
    sync = both(stand_in, index, tmp_path)
    sync.run()
    index.delete(index.get(where={"source": "HR-01"})["ids"])
    index.delete(index.get(where={"source": "PM-01"})["ids"])
    assert content(index) != fresh(stand_in)
    sync.run()
    assert content(index) == fresh(stand_in)
    other = in_memory(embedder)
    both(stand_in, other, tmp_path).run()
    assert content(other) == fresh(stand_in)


def test_passages_of_nobody_are_removed(stand_in: StandIn, embedder: HashEmbedder, tmp_path: Path) -> None:
    index = in_memory(embedder)
    index.add_texts(["left over"], [{"source": "HR-02", "acl": ["everyone"], "position": 0}], ids=["x"])
    both(stand_in, index, tmp_path).run()
    assert content(index) == fresh(stand_in)


def test_two_runs_at_once_are_refused(stand_in: StandIn, embedder: HashEmbedder, tmp_path: Path) -> None:
    index = in_memory(embedder)
    sync = both(stand_in, index, tmp_path)
    with sync._alone(), pytest.raises(SyncBusyError, match="Wait until it has finished"):
        both(stand_in, index, tmp_path).run()
    assert counts(sync.run())[0] == len(after(0))


# -- sources made by hand --


class Told:
    """A source that tells what it is given."""

    name = "told"

    def __init__(self, *events: Event) -> None:
        self.events = events
        self.asked: list[tuple[object, Collection[str]]] = []

    def changes(self, state: Mapping[str, Any] | None, again: Collection[str] = ()) -> Iterator[Event]:
        self.asked.append((state, again))
        yield from self.events


def end(*documents: str, n: int = 1) -> Checkpoint:
    return Checkpoint({"n": n}, frozenset(documents))


def test_a_document_longer_than_a_batch_is_whole(embedder: HashEmbedder, tmp_path: Path) -> None:
    index = in_memory(embedder)
    long = document("HR-01", "\n\n".join(f"## Part {n}\n\nText {n}." for n in range(3 * BATCH)))
    report = Sync([Told(Change(long), end("HR-01"))], index, tmp_path).run()
    assert len(content(index)) == report.embedded == 3 * BATCH
    report = Sync([Told(Change(long), end("HR-01"))], index, tmp_path).run()
    assert counts(report) == (0, 0, 0, 1)
    assert len(content(index)) == 3 * BATCH
    shorter = document("HR-01", "\n\n".join(f"## Part {n}\n\nText {n}." for n in range(3 * BATCH - 1)))
    assert Sync([Told(Change(shorter), end("HR-01"))], index, tmp_path).run().embedded == 0
    assert len(content(index)) == 3 * BATCH - 1


def test_versions_within_one_tick_of_the_clock(
    embedder: HashEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workshop_utils.retrieval.record_manager.time.time", lambda: 1_800_000_000.0)
    index = in_memory(embedder)
    for n in range(5):
        Sync([Told(Change(document("HR-01", f"Version {n}.")), end("HR-01"))], index, tmp_path).run()
        assert {text for _, text, *_ in content(index)} == {f"Title of HR-01\nVersion {n}."}


def test_a_document_told_twice_counts_once_as_told_last(embedder: HashEmbedder, tmp_path: Path) -> None:
    index = in_memory(embedder)
    events: list[Event] = [Change(document("HR-01", f"Version {n}.")) for n in range(3)]
    assert counts(Sync([Told(*events, end("HR-01"))], index, tmp_path).run()) == (1, 0, 0, 0)
    assert {text for _, text, *_ in content(index)} == {"Title of HR-01\nVersion 2."}
    events = [Change(document("HR-01", "Version 3.")), Deletion("HR-01"), Change(document("HR-02", "x"))]
    Sync([Told(*events, end("HR-02"))], index, tmp_path).run()
    assert {source for source, *_ in content(index)} == {"HR-02"}


def test_two_sources_with_equal_documents_do_not_take_each_others(embedder: HashEmbedder, tmp_path: Path) -> None:
    index = in_memory(embedder)
    one, other = Told(Change(document("HR-01", "x")), end("HR-01")), Told(Change(document("HR-01", "x")), end("HR-01"))
    other.name = "other"
    Sync([one, other], index, tmp_path).run()
    assert len(index.get()["ids"]) == 2
    Sync([Told(Deletion("HR-01"), end())], index, tmp_path).run()
    assert [data["origin"] for data in index.get()["metadatas"]] == ["other"]


def test_what_an_interrupted_run_added_goes_when_the_source_has_it_no_more(
    embedder: HashEmbedder, tmp_path: Path
) -> None:
    class Cut(Told):
        def changes(self, state: Mapping[str, Any] | None, again: Collection[str] = ()) -> Iterator[Event]:
            yield from super().changes(state, again)
            raise StoppedError

    index = in_memory(embedder)
    Sync([Told(Change(document("HR-01", "x")), end("HR-01"))], index, tmp_path).run()
    long = document("HR-02", "\n\n".join(f"## Part {n}\n\nText {n}." for n in range(BATCH)))
    with pytest.raises(StoppedError):
        Sync([Cut(Change(long))], index, tmp_path).run()
    assert "HR-02" in {source for source, *_ in content(index)}
    source = Told(end("HR-01"))
    assert counts(Sync([source], index, tmp_path).run()) == (0, 0, 1, 0)
    assert {source for source, *_ in content(index)} == {"HR-01"}
    assert source.asked == [({"n": 1}, {"HR-02"})]


def test_what_an_interrupted_run_removed_is_asked_for_again(
    embedder: HashEmbedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = in_memory(embedder)
    Sync([Told(Change(document("HR-01", "x")), end("HR-01"))], index, tmp_path).run()
    with monkeypatch.context() as patch:
        patch.setattr(SqliteRecordManager, "settle", stop)
        with pytest.raises(StoppedError):
            Sync([Told(end())], index, tmp_path).run()
    assert content(index) == set()
    source = Told(Change(document("HR-01", "x")), end("HR-01"))
    Sync([source], index, tmp_path).run()
    assert source.asked == [({"n": 1}, {"HR-01"})]
    assert len(content(index)) == 1


def test_states_are_kept_by_source_and_handed_back(embedder: HashEmbedder, tmp_path: Path) -> None:
    index = in_memory(embedder)
    source = Told(Change(document("HR-01", "x")), end("HR-01", n=7))
    sync = Sync([source], index, tmp_path)
    sync.run()
    sync.run()
    assert source.asked == [(None, set()), ({"n": 7}, set())]


def test_failures_are_reported(embedder: HashEmbedder, tmp_path: Path) -> None:
    failure = Failure("page 7", "it is broken")
    report = Sync([Told(failure, end())], in_memory(embedder), tmp_path).run()
    assert report.failed == [failure]
    assert report.seconds > 0
    assert dataclasses.asdict(report)["failed"] == [{"name": "page 7", "reason": "it is broken"}]


def test_a_document_without_passages_leaves_none(embedder: HashEmbedder, tmp_path: Path) -> None:
    index = in_memory(embedder)
    empty = Document(id="HR-01", page_content="# Only a title\n", metadata={"title": "T"})
    Sync([Told(Change(document("HR-01", "x")), end("HR-01"))], index, tmp_path).run()
    Sync([Told(Change(empty), end("HR-01"))], index, tmp_path).run()
    assert content(index) == set()
