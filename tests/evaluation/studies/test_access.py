"""The study of access rights: its scoring on answers made by hand, and that the stored one is of this commit."""

from __future__ import annotations

import json
from dataclasses import replace

from langchain_core.documents import Document

from workshop_utils.corpus import data_dir, load_documents, load_questions
from workshop_utils.corpus.people import Role, load_roles
from workshop_utils.evaluation.studies import access as subject
from workshop_utils.evaluation.studies.access import Asked

RIGHTS = {"S": frozenset({"legal"}), "P": frozenset({"everyone"})}
STAFF = Role("employee", "Operator", "Vernay", ("everyone",))
COUNSEL = Role("counsel", "Counsel", "Vernay", ("everyone", "legal"))
QUESTION = replace(
    load_questions("dev", kinds=["restricted"])[0], answer="17 euros", accept=(), sources=("S",), family="S"
)


def passage(source: str, text: str = "Nothing.") -> Document:
    return Document(id=f"{source}#0", page_content=text, metadata={"source": source, "acl": ["everyone", "legal"]})


PUBLIC, SECRET = passage("P"), passage("S", "It costs 17 euros.")


def counts(asked: list[Asked], answers: list[str]) -> tuple[dict[str, float], float, int]:
    found = subject.leaks(asked, answers, RIGHTS)
    return (
        {name: figure["count"] for name, figure in found["leaks"].items()},
        found["leaks"]["passages"]["n"],
        found["coincidences"],
    )


def test_a_passage_leaks_whatever_the_index_says_of_its_readers() -> None:
    asked = [Asked(QUESTION, STAFF, (PUBLIC, SECRET)), Asked(QUESTION, STAFF, (PUBLIC,))]
    assert counts(asked, ["no", "no"]) == ({"passages": 1, "answers": 0, "citations": 0}, 2, 0)


def test_a_secret_in_the_answer_leaks_also_without_a_passage() -> None:
    asked = [Asked(QUESTION, STAFF, (PUBLIC,))]
    assert counts(asked, ["[1] 17 euros"]) == ({"passages": 0, "answers": 1, "citations": 0}, 1, 0)


def test_the_same_words_in_a_public_passage_are_a_coincidence() -> None:
    asked = [Asked(QUESTION, STAFF, (passage("P", "Lunch is 17 euros."),))]
    assert counts(asked, ["[1] 17 euros"]) == ({"passages": 0, "answers": 0, "citations": 0}, 1, 1)


def test_a_citation_of_a_forbidden_passage_leaks() -> None:
    asked = [Asked(QUESTION, STAFF, (PUBLIC, SECRET))]
    assert counts(asked, ["[2] 17 euros"])[0] == {"passages": 1, "answers": 1, "citations": 1}
    assert counts(asked, ["[1] nothing"])[0]["citations"] == 0


def test_those_who_may_read_cannot_leak() -> None:
    assert counts([Asked(QUESTION, COUNSEL, (SECRET,))], ["[1] 17 euros"])[1] == 0
    assert subject.tells([SECRET], QUESTION)
    assert not subject.tells([passage("P", "It costs 17 euros.")], QUESTION)


def test_filtering_afterwards_starves_and_filtering_inside_does_not() -> None:
    other = replace(QUESTION, id="other", family="T")
    inside = [Asked(QUESTION, STAFF, (PUBLIC,) * 3), Asked(other, STAFF, (PUBLIC,) * 3)]
    unfiltered = {QUESTION.id: (SECRET, SECRET, SECRET), "other": (PUBLIC, SECRET, PUBLIC)}
    result = subject.afterwards(inside, unfiltered, RIGHTS)
    assert result["left"]["value"] == 1
    assert result["starved"]["count"] == 2
    assert result["none"]["count"] == 1
    assert (result["inside_left"]["value"], result["inside_left"]["high"]) == (3, 3)


def test_each_change_is_judged_by_the_rights_of_its_time() -> None:
    opened = {**RIGHTS, "S": frozenset({"everyone"})}
    asked = [Asked(QUESTION, STAFF, (SECRET,))] * 2
    result = subject._all_leaks(asked, ["[1] 17 euros"] * 2, [RIGHTS, opened])
    assert {name: (f["count"], f["n"]) for name, f in result["leaks"].items()} == {
        "passages": (1, 1),
        "answers": (1, 1),
        "citations": (1, 1),
    }


def test_the_questions_and_changes_are_those_of_development_and_training() -> None:
    held_out = {source for question in load_questions("test") for source in question.sources}
    assert not held_out & {source for question in subject.restricted_questions() for source in question.sources}
    assert not held_out & {change.document for change in subject.CHANGES}
    assert all(subject._questions_on(change.document) for change in subject.CHANGES)
    rights = subject.rights_of(load_documents(groups=None))
    roles = load_roles()
    for question in subject.restricted_questions():
        readers = [role for role in roles if subject.may_read(role, question.sources, rights)]
        assert 0 < len(readers) < len(roles)


AGAIN = "run: workshop bench access --json data/results/access.json"


def test_the_stored_study_is_up_to_date() -> None:
    path = data_dir() / "results" / "access.json"
    assert path.exists(), AGAIN
    stored = json.loads(path.read_text("utf-8"))
    assert stored["pairs"] == len(subject.restricted_questions()) * len(load_roles()), AGAIN
    assert stored["inputs"] == subject.inputs_hash(), AGAIN


def test_nothing_leaked() -> None:
    path = data_dir() / "results" / "access.json"
    assert path.exists(), AGAIN
    stored = json.loads(path.read_text("utf-8"))
    found = [*stored["leaks"].values(), *stored["changed"]["leaks"].values()]
    assert [figure["count"] for figure in found] == [0] * 6
