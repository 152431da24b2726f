"""The comparison on somebody's own material, in small: trained on one part, asked the other, and honest about n."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.corpus.test_own import save, save_docx, save_pdf
from tests.tiny import HashEmbedder
from workshop_utils.corpus.questions import NO_ANSWER
from workshop_utils.errors import InputError
from workshop_utils.evaluation.compare import own as subject
from workshop_utils.evaluation.compare import verdicts_table
from workshop_utils.evaluation.compare.arms import Arm
from workshop_utils.evaluation.compare.material import Material
from workshop_utils.evaluation.compare.own import compare_own
from workshop_utils.evaluation.compare.report import render
from workshop_utils.evaluation.compare.table import table
from workshop_utils.evaluation.studies import runs
from workshop_utils.models import load_tokenizer
from workshop_utils.tuning.trainer import train_adapter

QUIET = Console(quiet=True)
DOCUMENTS = 14
TUNED = {"LoRA-task", "LoRA-knowledge", "LoRA-task + RAG", "RAFT + RAG"}


class Trainings:
    """What was trained: each with its examples in words, and where it started."""

    def __init__(self) -> None:
        self.made: list[tuple[list[str], Path | None]] = []

    def texts(self, number: int) -> str:
        return "\n".join(self.made[number][0])


@pytest.fixture
def trainings(arms: dict[str, Arm], tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> Trainings:
    """Tiny models under the command; trainings are real ones of the tiny model."""
    tokenizer = load_tokenizer()
    seen = Trainings()

    def train(rows: list[dict[str, list[int]]], *arguments: Any, **options: Any) -> Any:
        seen.made.append(([tokenizer.decode(row["input_ids"]) for row in rows], options["start_from"]))
        return train_adapter(rows, *arguments, base=tiny_llama, **options)

    monkeypatch.setattr(runs, "train_adapter", train)
    monkeypatch.setattr(subject, "ARMS", arms)
    monkeypatch.setattr(subject, "READER", arms["reader_rag"].adapter)
    monkeypatch.setattr(subject, "load_embedder", HashEmbedder)
    return seen


def own_material(folder: Path, documents: int = DOCUMENTS, silent: int = 5) -> tuple[Path, Path]:
    """Documents of all formats with three facts each, questions on them, and some that they do not answer."""
    lines = []
    for n in range(documents):
        name = f"d{n}{('.md', '.txt', '.html', '.docx', '.pdf')[n % 5] if n < 5 else '.md'}"
        text = f"Door {n} opens at {n + 100}. Lamp {n} has {n + 200} watts. Room {n} holds {n + 300} chairs."
        facts: dict[str, int | str] = {
            f"When does door {n} open?": n + 100,
            f"Watts of lamp {n}?": n + 200,
            f"Chairs in room {n}?": n + 300,
        }
        if name.endswith(".docx"):
            save_docx(folder / "files" / name)
            facts = {"How are short trips made?": "by rail"}
        elif name.endswith(".pdf"):
            save_pdf(folder / "files" / name, text)
        else:
            save(
                folder / "files", name, f"<h1>T</h1><p>{text}</p>" if name.endswith("html") else f"# T {n}\n\n{text}\n"
            )
        lines += [{"question": asked, "answer": str(answer), "sources": [name]} for asked, answer in facts.items()]
    lines += [{"question": f"Who painted wall {n}?", "answer": NO_ANSWER} for n in range(silent)]
    path = save(folder, "questions.jsonl", "\n".join(json.dumps(line) for line in lines))
    return folder / "files", path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    folder = tmp_path / "own"
    (folder / "files").mkdir(parents=True)
    save_pdf(folder / "files" / "scan.pdf", None)
    return own_material(folder)


def test_the_nine_arms_are_made_and_asked(
    files: tuple[Path, Path], trainings: Trainings, arms: dict[str, Arm], counts: dict[str, int]
) -> None:
    said = StringIO()
    result = compare_own(*files, Console(file=said, width=500))
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert list(result["arms"]) == list(arms)
    own = result["own"]
    questions = 3 * DOCUMENTS - 2 + 5
    assert (result["split"], result["n"]) == ("own", own["test"]["questions"])
    assert own["train"]["questions"] + own["test"]["questions"] == questions
    assert abs(own["train"]["questions"] / questions - 0.6) < 0.06
    assert own["left_out"] == {}
    assert own["enough"] is False
    assert own["smallest"]["unrelated"] is None or own["smallest"]["unrelated"] < 0.4
    for text in ("scan.pdf: it holds no text", "too few to conclude anything", "RAFT + RAG: trained on"):
        assert text in said.getvalue()
    assert any("scan.pdf" in finding for finding in own["findings"])

    # nothing that is asked was trained on, and the text of every document was, for the arm that is to know it
    lines = files[1].read_text("utf-8").splitlines()
    asked = {str(json.loads(lines[int(key[4:]) - 1])["question"]) for key in result["answers"]["base"]}
    assert len(asked) == own["test"]["questions"]
    task, knowledge, raft = range(3)
    assert len(trainings.made) == 3
    for number in (task, knowledge, raft):
        assert not [one for one in asked if one in trainings.texts(number)]
    assert all(f"Lamp {n} has {n + 200} watts" in trainings.texts(knowledge) for n in range(DOCUMENTS) if n != 3)
    assert "has 205 watts" not in trainings.texts(task)
    assert "by rail" in trainings.texts(knowledge)
    assert [start for _, start in trainings.made] == [None, None, arms["reader_rag"].adapter]
    assert "[1]" in trainings.texts(raft)
    assert NO_ANSWER in trainings.texts(raft)

    # the reader's training counts for what goes on from it
    cost = {key: arm["cost"] for key, arm in result["arms"].items()}
    assert cost["raft_rag"]["training_seconds"] > 10.0
    assert cost["lora_task_rag"]["training_seconds"] == cost["lora_task"]["training_seconds"]
    assert result["arms"]["lora_knowledge"]["steps"] == [
        step for step in arms["lora_knowledge"].steps if step != "questions written on every document"
    ]
    assert "cited" in result["arms"]["raft_rag"]

    QUIET.print(table(result))
    QUIET.print(verdicts_table.table(result))
    assert "too few to conclude anything" in render(result)

    # the same again is read from the cache: nothing is trained or asked
    before = dict(counts)
    again = compare_own(*files, QUIET)
    assert again["answers"] == result["answers"]
    assert len(trainings.made) == 3
    assert counts.get("logprobs") == before.get("logprobs")


class Planned:
    """What would be trained and asked, without a model."""

    def __init__(self) -> None:
        self.trained: list[int] = []
        self.materials: list[Material] = []
        self.arms: dict[str, Arm] = {}

    def train(self, rows: list[Any], *_: Any, **__: Any) -> tuple[Path, dict[str, Any]]:
        self.trained.append(len(rows))
        return Path("adapter"), {}

    def compare(self, material: Material, _: Console, *, arms: dict[str, Arm], quick: bool) -> dict[str, Any]:
        self.materials.append(material)
        self.arms = arms
        return {"quick": quick}


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Planned:
    plan = Planned()
    monkeypatch.setattr(subject, "kept_run", plan.train)
    monkeypatch.setattr(subject, "compare", plan.compare)
    monkeypatch.setattr(subject, "load_embedder", HashEmbedder)
    return plan


def test_worked_examples_are_of_other_families_than_what_is_asked(files: tuple[Path, Path], planned: Planned) -> None:
    result = compare_own(*files, QUIET)
    (material,) = planned.materials
    assert not {q.family for q in material.examples} & {q.family for q in material.questions}
    assert len(material.examples) == result["own"]["train"]["questions"] == planned.trained[0] > 20
    assert len({q.family for q in material.questions}) == result["own"]["test"]["families"]
    assert material.later is None


def test_a_handful_of_questions_is_asked_and_nothing_is_trained(tmp_path: Path, planned: Planned) -> None:
    own = compare_own(*own_material(tmp_path, 4, silent=1), QUIET)["own"]
    assert planned.trained == []
    assert set(own["left_out"]) == TUNED
    assert own["left_out"]["LoRA-task"].endswith("training questions, and training takes 20")
    assert set(planned.arms) == {"base", "few_shot", "rag", "few_shot_rag", "reader_rag"}
    assert own["enough"] is False


def test_one_family_is_asked_by_arms_that_need_no_training(tmp_path: Path, planned: Planned) -> None:
    own = compare_own(*own_material(tmp_path, 1, silent=0), QUIET)["own"]
    assert planned.trained == []
    assert set(own["left_out"]) == {*TUNED, "few-shot"}
    assert "few_shot_rag" in planned.arms
    assert (own["test"]["questions"], own["train"]) == (3, {"questions": 0, "families": 0})
    assert "No difference between two arms" in own["says"]


def test_more_text_than_can_be_trained_on_leaves_one_arm_out(
    files: tuple[Path, Path], planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "MOST_TEXT_TOKENS", 100)
    result = compare_own(*files, QUIET, quick=True)
    assert list(result["own"]["left_out"]) == ["LoRA-knowledge"]
    assert "no more than 100 are trained on" in result["own"]["left_out"]["LoRA-knowledge"]
    assert "lora_knowledge" not in planned.arms
    assert result["quick"] is True


def test_reading_is_trained_only_where_passages_are_known(tmp_path: Path, planned: Planned) -> None:
    folder, path = own_material(tmp_path)
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    unplaced = [line | {"sources": [], "answer": f"unheard {n}"} for n, line in enumerate(lines)]
    path.write_text("\n".join(json.dumps(line) for line in unplaced), "utf-8")
    own = compare_own(folder, path, QUIET)["own"]
    assert list(own["left_out"]) == ["RAFT + RAG"]
    assert own["left_out"]["RAFT + RAG"].startswith("0 training questions with a passage that answers")
    assert "lora_task_rag" in planned.arms


def test_a_quick_look_says_what_its_fewer_questions_can_tell(tmp_path: Path, planned: Planned) -> None:
    material = own_material(tmp_path, 80)
    whole, quick = (compare_own(*material, QUIET, quick=quick)["own"] for quick in (False, True))
    assert len(planned.materials) == 2
    assert whole["test"]["questions"] > 90
    assert 50 < quick["questions"] < 62 < whole["questions"]
    assert quick["smallest"]["unrelated"] > whole["smallest"]["unrelated"]


def test_bad_material_is_told_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> Any:
        raise AssertionError

    monkeypatch.setattr(subject, "load_embedder", never)
    monkeypatch.setattr(subject, "kept_run", never)
    save(tmp_path / "files", "a.md", "# A\n\nText.\n")
    path = save(tmp_path, "q.jsonl", json.dumps({"question": "q", "answer": NO_ANSWER}))
    with pytest.raises(InputError, match="None of the 1 questions"):
        compare_own(tmp_path / "files", path, QUIET)
