"""Which passages an index holds, and how far its sources have been read, in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from langchain_core.indexing import RecordManager

# SQLite allows 32,766 variables in a statement
STEP = 10_000
SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    namespace TEXT NOT NULL, key TEXT NOT NULL, group_id TEXT, updated_at REAL NOT NULL, PRIMARY KEY (namespace, key)
);
CREATE INDEX IF NOT EXISTS records_by_group ON records (namespace, group_id);
CREATE INDEX IF NOT EXISTS records_by_time ON records (updated_at);
CREATE TABLE IF NOT EXISTS states (namespace TEXT PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS begun (namespace TEXT NOT NULL, group_id TEXT NOT NULL, PRIMARY KEY (namespace, group_id));
"""


class SqliteRecordManager(RecordManager):
    """The record manager of LangChain's indexing API on disk: langchain-core ships one for tests only.

    Its time is a clock that never stands still or goes back, whatever the machine's does: the indexing API removes what
    is *older* than the moment it began, so two runs within one tick would leave both versions of a passage.

    Args:
        path: of the SQLite file, which is made if it is not there.
        namespace: keeps the records of one source apart from those of others.
    """

    def __init__(self, path: Path, namespace: str) -> None:
        super().__init__(namespace)
        self.path = path
        self.create_schema()

    def create_schema(self) -> None:
        """Make the tables, unless they are there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as database:
            database.executescript(SCHEMA)

    def get_time(self) -> float:
        """Seconds since 1970, later than any record."""
        with self._open() as database:
            return self._now(database)

    def update(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """Note that these passages are in the index now; a key keeps its group when none is given.

        Raises:
            ValueError: there are not as many groups as keys.
        """
        if group_ids is not None and len(group_ids) != len(keys):
            raise ValueError(f"{len(keys)} keys need as many group ids, not {len(group_ids)}.")
        with self._open() as database:
            now = max(self._now(database), time_at_least or 0.0)
            groups = group_ids or [None] * len(keys)
            rows = [(self.namespace, key, group, now) for key, group in zip(keys, groups, strict=True)]
            database.executemany(
                "INSERT INTO records VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET updated_at = excluded.updated_at, "
                "group_id = coalesce(excluded.group_id, group_id)",
                rows,
            )

    def exists(self, keys: Sequence[str]) -> list[bool]:
        """Whether each passage is in the index."""
        found = set[str]()
        with self._open() as database:
            for part in _parts(keys):
                query = f"SELECT key FROM records WHERE namespace = ? AND key IN ({_marks(part)})"
                found.update(key for (key,) in database.execute(query, (self.namespace, *part)))
        return [key in found for key in keys]

    def list_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """Keys of passages by age and group; an empty list of groups has none."""
        query, values = "SELECT key FROM records WHERE namespace = ?", list[Any]([self.namespace])
        if before is not None:
            query, values = f"{query} AND updated_at < ?", [*values, before]
        if after is not None:
            query, values = f"{query} AND updated_at > ?", [*values, after]
        keys: list[str] = []
        with self._open() as database:
            for part in [None] if group_ids is None else _parts(group_ids):
                chosen = "" if part is None else f" AND group_id IN ({_marks(part)})"
                found = database.execute(f"{query}{chosen} ORDER BY rowid", (*values, *(part or ())))
                keys += [key for (key,) in found]
        return keys[:limit] if limit else keys

    def delete_keys(self, keys: Sequence[str]) -> None:
        """Note that these passages are no longer in the index."""
        with self._open() as database:
            database.executemany(
                "DELETE FROM records WHERE namespace = ? AND key = ?", [(self.namespace, key) for key in keys]
            )

    def keys_by_group(self, group_ids: Iterable[str]) -> dict[str, set[str]]:
        """Keys of the passages of each of these groups."""
        groups = {group: set[str]() for group in group_ids}
        with self._open() as database:
            for part in _parts(list(groups)):
                query = f"SELECT group_id, key FROM records WHERE namespace = ? AND group_id IN ({_marks(part)})"
                for group, key in database.execute(query, (self.namespace, *part)):
                    groups[group].add(key)
        return groups

    def groups(self) -> set[str]:
        """Every group that has passages."""
        with self._open() as database:
            rows = database.execute("SELECT DISTINCT group_id FROM records WHERE namespace = ?", (self.namespace,))
            return {group for (group,) in rows}

    def begin(self, group_ids: Iterable[str]) -> None:
        """Note that the passages of these groups are about to change, and count as unsettled from now on."""
        with self._open() as database:
            rows = [(self.namespace, group) for group in group_ids]
            database.executemany("INSERT OR IGNORE INTO begun VALUES (?, ?)", rows)

    def settle(self, state: dict[str, Any]) -> None:
        """Note that the index holds all that the source told up to this state."""
        with self._open() as database:
            database.execute("REPLACE INTO states VALUES (?, ?)", (self.namespace, json.dumps(state)))
            database.execute("DELETE FROM begun WHERE namespace = ?", (self.namespace,))

    def settled(self) -> tuple[dict[str, Any] | None, set[str]]:
        """The last state, None at first; and the groups that have changed since."""
        with self._open() as database:
            row = database.execute("SELECT state FROM states WHERE namespace = ?", (self.namespace,)).fetchone()
            begun = database.execute("SELECT group_id FROM begun WHERE namespace = ?", (self.namespace,))
            return (None if row is None else dict(json.loads(row[0]))), {group for (group,) in begun}

    def groups_of(self, keys: Sequence[str]) -> set[str]:
        """The groups that these passages belong to."""
        found = set[str]()
        with self._open() as database:
            for part in _parts(keys):
                query = f"SELECT DISTINCT group_id FROM records WHERE namespace = ? AND key IN ({_marks(part)})"
                found.update(group for (group,) in database.execute(query, (self.namespace, *part)))
        return found

    def all_keys(self) -> dict[str, set[str]]:
        """Every key in the file, by namespace."""
        found: dict[str, set[str]] = {}
        with self._open() as database:
            for namespace, key in database.execute("SELECT namespace, key FROM records"):
                found.setdefault(namespace, set()).add(key)
        return found

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction; one that stayed open would belong to one thread."""
        with closing(sqlite3.connect(self.path, timeout=30)) as database, database:
            yield database

    @staticmethod
    def _now(database: sqlite3.Connection) -> float:
        latest = database.execute("SELECT max(updated_at) FROM records").fetchone()[0]
        # a float of this size has steps of a quarter of a microsecond
        return time.time() if latest is None else max(time.time(), latest + 1e-6)

    # -- the indexing API's asynchronous half asks for these --

    async def acreate_schema(self) -> None:
        """As ``create_schema``."""
        self.create_schema()

    async def aget_time(self) -> float:
        """As ``get_time``."""
        return self.get_time()

    async def aupdate(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """As ``update``."""
        self.update(keys, group_ids=group_ids, time_at_least=time_at_least)

    async def aexists(self, keys: Sequence[str]) -> list[bool]:
        """As ``exists``."""
        return self.exists(keys)

    async def alist_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """As ``list_keys``."""
        return self.list_keys(before=before, after=after, group_ids=group_ids, limit=limit)

    async def adelete_keys(self, keys: Sequence[str]) -> None:
        """As ``delete_keys``."""
        self.delete_keys(keys)


def _parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[start : start + STEP] for start in range(0, len(values), STEP))


def _marks(values: Sequence[str]) -> str:
    return ",".join("?" * len(values))
