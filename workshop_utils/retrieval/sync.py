"""Keeping an index equal to the systems that its documents come from."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.indexing import index as index_documents

from workshop_utils.corpus.connectors import Change, Checkpoint, Failure, Source, SourceError
from workshop_utils.corpus.splitting import split_documents
from workshop_utils.errors import WorkshopError
from workshop_utils.retrieval.record_manager import SqliteRecordManager

# passages that are embedded and written at once
BATCH = 64
# Chroma refuses to delete more than some thousands at once
DELETE_STEP = 1000


class SyncBusyError(WorkshopError):
    """Another run is working on the same index."""


@dataclass
class SyncReport:
    """What a run did, in documents.

    Attributes:
        skipped: documents that a source told of, but that were in the index just so.
        failed: pages and files that could not be read; what the index held of them is removed.
        embedded: passages that were new.
        seconds: how long it took.
    """

    added: int = 0
    updated: int = 0
    deleted: int = 0
    skipped: int = 0
    failed: list[Failure] = field(default_factory=list)
    embedded: int = 0
    seconds: float = 0.0


class Sync:
    """Makes an index equal to its sources, with LangChain's indexing API.

    A passage is known by the hash of its text and metadata, so what has not changed is not embedded again, and new
    access rights make a new passage. A source's state advances once the index holds all that came before it. After an
    interruption the next run first makes index and records agree, then goes on from the last state and asks again for
    the documents whose passages had begun to change: the source may have gone back to what the state says of them.

    Args:
        sources: where the documents come from. What the index holds of other sources is left alone.
        index: a Chroma collection that nothing else writes to.
        folder: where records and states are kept: the index's own, so that neither is deleted without the other.
        split: makes passages of documents, with their document's id in ``metadata["source"]``.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        index: Chroma,
        folder: Path,
        *,
        split: Callable[[Iterable[Document]], list[Document]] = split_documents,
    ) -> None:
        self.sources, self.index, self.split = list(sources), index, split
        self.path = folder / "sync.sqlite3"

    def run(self) -> SyncReport:
        """Bring the index up to date.

        A source that cannot be read does not keep the others from being read; its error is raised at the end.

        Raises:
            SourceError: a source cannot be read.
            SyncBusyError: another run is working on this index.
        """
        started, report, errors = time.perf_counter(), SyncReport(), list[SourceError]()
        with self._alone():
            self._reconcile()
            for source in self.sources:
                try:
                    _Update(self, source, report).run()
                except SourceError as error:
                    errors.append(error)
        report.seconds = time.perf_counter() - started
        if errors:
            raise errors[0]
        return report

    def remove(self, keys: Sequence[str]) -> None:
        """Delete passages from the index by key."""
        for start in range(0, len(keys), DELETE_STEP):
            self.index.delete(list(keys[start : start + DELETE_STEP]))

    def _reconcile(self) -> None:
        """Make index and records agree: remove passages without a record, read again what has lost its passages."""
        stored = set(self.index.get(include=[])["ids"])
        recorded = SqliteRecordManager(self.path, "").all_keys()
        self.remove(sorted(stored.difference(*recorded.values())))
        for namespace, keys in recorded.items():
            if lost := sorted(keys - stored):
                records = SqliteRecordManager(self.path, namespace)
                records.begin(records.groups_of(lost))
                records.delete_keys(lost)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold a lock that the system lets go of when this process dies."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path.with_suffix(".lock"), timeout=0, isolation_level=None)) as lock:
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                raise SyncBusyError(
                    f"Another run is working on the index in {self.path.parent} ({error}). Wait until it has finished."
                ) from error
            yield


class _Update:
    """What one source has to tell, on its way into the index."""

    def __init__(self, sync: Sync, source: Source, report: SyncReport) -> None:
        self.sync, self.source, self.report = sync, source, report
        self.records = SqliteRecordManager(sync.path, source.name)
        self.waiting: dict[str, list[Document]] = {}

    def run(self) -> None:
        for event in self.source.changes(*self.records.settled()):
            match event:
                case Change(document):
                    self._add(document)
                case Failure():
                    self.report.failed.append(event)
                case Checkpoint(state, documents):
                    self._write()
                    # more than the deletions told: what an interrupted run has added may be gone by now as well
                    self._delete(self.records.groups() - documents)
                    self.records.settle(state)

    def _add(self, document: Document) -> None:
        key = str(document.id)
        passages = self.sync.split([document])
        if not passages:
            self._delete([key])
            return
        for passage in passages:
            # equal passages of two sources must not share a key: one source's deletion would take the other's
            passage.metadata["origin"] = self.source.name
        # of a document that is told twice, the later text counts
        self.waiting[key] = passages
        if sum(map(len, self.waiting.values())) >= BATCH:
            self._write()

    def _write(self) -> None:
        """Put the waiting documents into the index, each in place of its former self."""
        passages = [passage for group in self.waiting.values() for passage in group]
        if not passages:
            return
        before = self.records.keys_by_group(self.waiting)
        self.records.begin(self.waiting)
        result = index_documents(
            passages,
            self.records,
            self.sync.index,
            batch_size=BATCH,
            # 'incremental' deletes passages of a document that is longer than a batch
            cleanup="scoped_full",
            source_id_key="source",
            key_encoder="sha256",
        )
        after = self.records.keys_by_group(self.waiting)
        for key, keys in before.items():
            kind = "added" if not keys else "skipped" if keys == after[key] else "updated"
            setattr(self.report, kind, getattr(self.report, kind) + 1)
        self.report.embedded += result["num_added"]
        self.waiting.clear()

    def _delete(self, documents: Collection[str]) -> None:
        self.records.begin(documents)
        for keys in self.records.keys_by_group(documents).values():
            if keys:
                self.sync.remove(sorted(keys))
                self.records.delete_keys(sorted(keys))
                self.report.deleted += 1
