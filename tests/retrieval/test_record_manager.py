"""The records of an index on disk, compared with LangChain's own in memory."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.indexing import InMemoryRecordManager

from workshop_utils.retrieval.record_manager import SqliteRecordManager

KEYS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)
STEPS = st.lists(st.tuples(st.sampled_from(["update", "delete"]), KEYS, st.sampled_from(["x", "y"])), max_size=12)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS, asked=KEYS)
def test_it_answers_as_the_one_in_memory(steps: list[tuple[str, list[str], str]], asked: list[str]) -> None:
    ours = SqliteRecordManager(Path(tempfile.mkdtemp()) / "records", "n")
    theirs = InMemoryRecordManager("n")
    moments = [(ours.get_time(), theirs.get_time())]
    for kind, keys, group in steps:
        for one in (ours, theirs):
            if kind == "update":
                one.update(keys, group_ids=[group] * len(keys))
            else:
                theirs_keys = [key for key in keys if theirs.exists([key])[0]] if one is theirs else keys
                one.delete_keys(theirs_keys)
        moments.append((ours.get_time(), theirs.get_time()))
    assert ours.exists(asked) == theirs.exists(asked)
    for group_ids in (None, ["x"], ["x", "y"], ["z"]):
        assert sorted(ours.list_keys(group_ids=group_ids)) == sorted(theirs.list_keys(group_ids=group_ids))
    for mine, other in moments:
        assert sorted(ours.list_keys(before=mine)) == sorted(theirs.list_keys(before=other))


@pytest.fixture
def records(tmp_path: Path) -> SqliteRecordManager:
    return SqliteRecordManager(tmp_path / "folder" / "records.sqlite3", "a")


def test_time_never_stands_still_or_goes_back(records: SqliteRecordManager, monkeypatch: pytest.MonkeyPatch) -> None:
    for clock in (1000.0, 1000.0, 1000.0, 500.0):
        monkeypatch.setattr("workshop_utils.retrieval.record_manager.time.time", lambda clock=clock: clock)
        began = records.get_time()
        assert records.list_keys(before=began) == records.list_keys()
        records.update([f"at {len(records.list_keys())}"], time_at_least=began)
        assert len(records.list_keys(before=began)) == len(records.list_keys()) - 1
    assert len(records.list_keys()) == 4


def test_no_groups_are_not_all_groups(records: SqliteRecordManager) -> None:
    records.update(["k"], group_ids=["g"])
    assert records.list_keys(group_ids=[]) == []
    assert records.list_keys(limit=1) == ["k"]


def test_a_refreshed_record_keeps_its_group(records: SqliteRecordManager) -> None:
    records.update(["k"], group_ids=["g"])
    records.update(["k"])
    assert records.list_keys(group_ids=["g"]) == ["k"]


def test_groups_must_be_as_many_as_keys(records: SqliteRecordManager) -> None:
    with pytest.raises(ValueError, match="2 keys need as many"):
        records.update(["a", "b"], group_ids=["g"])


def test_namespaces_do_not_meet(records: SqliteRecordManager) -> None:
    other = SqliteRecordManager(records.path, "b")
    records.update(["k"], group_ids=["g"])
    other.begin(["g"])
    assert other.exists(["k"]) == [False]
    assert other.groups() == set()
    other.delete_keys(["k"])
    assert records.all_keys() == {"a": {"k"}}
    assert records.settled() == (None, set())


def test_what_is_settled_survives_and_what_has_begun_is_kept(records: SqliteRecordManager) -> None:
    records.begin(["g"])
    records.settle({"n": 1})
    records.begin(["h", "h", "i"])
    assert SqliteRecordManager(records.path, "a").settled() == ({"n": 1}, {"h", "i"})


def test_many_keys(records: SqliteRecordManager) -> None:
    keys = [str(n) for n in range(45_000)]
    records.update(keys, group_ids=keys)
    assert all(records.exists(keys))
    assert len(records.list_keys(group_ids=keys)) == len(records.keys_by_group(keys)) == len(keys)
    assert records.groups_of(keys) == set(keys)
    records.delete_keys(keys)
    assert records.list_keys() == []


def test_the_asynchronous_half_does_the_same(records: SqliteRecordManager) -> None:
    async def use() -> None:
        await records.acreate_schema()
        began = await records.aget_time()
        await records.aupdate(["k"], group_ids=["g"], time_at_least=began)
        assert await records.aexists(["k", "l"]) == [True, False]
        assert await records.alist_keys(after=0) == ["k"]
        await records.adelete_keys(["k"])

    asyncio.run(use())
    assert records.list_keys() == []
