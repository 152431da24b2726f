"""RAFT's recipe: how many passages, how often without the golden one, and from where; on the development questions.

The figures of lesson 08: ``workshop bench raft --json data/results/raft.json``, after ``workshop train raft``. The
sweep learns from a part of the training questions, once each, so its rows compare with each other and not with the
adapter that comes with the workshop, which saw all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from rich.console import Console
from rich.table import Table

from workshop_utils.corpus import Question, load_documents, load_questions, split_documents
from workshop_utils.evaluation.answering import weights_hash
from workshop_utils.evaluation.compare import asking, scoring
from workshop_utils.evaluation.compare.arms import ARMS, MAX_TOKENS
from workshop_utils.evaluation.compare.scoring import Marked
from workshop_utils.evaluation.intervals import paired_difference
from workshop_utils.evaluation.studies.figures import Figure, share, words
from workshop_utils.evaluation.studies.runs import TOKENS_PER_BATCH, kept_run
from workshop_utils.models import device, load_embedder, load_llm
from workshop_utils.models.adapters import RAFT, READER
from workshop_utils.models.transformers_chat import ChatTransformers
from workshop_utils.rag.prompts import PASSAGE_TOKENS
from workshop_utils.retrieval.hybrid import CANDIDATES
from workshop_utils.retrieval.rankings import hybrid_rankings
from workshop_utils.tuning.raft import RECIPE, SETTINGS, Recipe, raft_rows


@dataclass(frozen=True)
class Run:
    """One training of the sweep."""

    name: str
    recipe: Recipe
    from_reader: bool = True


EXAMPLES = 240
ONE_PASS = replace(SETTINGS, epochs=1)
SHARES = (0.0, 0.1, 0.2, 0.4)
PASSAGES = (1, 3, 5)
RUNS = {
    **{f"share_{share}": Run(f"without in {share:.0%}", replace(RECIPE, share_without=share)) for share in SHARES},
    **{f"passages_{n}": Run(f"{n} passages", replace(RECIPE, passages=n)) for n in PASSAGES if n != RECIPE.passages},
    "fresh": Run("from nothing, not from the reader", RECIPE, from_reader=False),
}
# what the shipped adapter should reach here, and above or below which it counts
AIMS = {"correct": 0.70, "citation_precision": 0.85, "abstained": 0.80, "false_abstention": 0.10}
FIGURES = ("correct", "given", "correct_given", "cited", "citation_precision", "abstained", "false_abstention")


def study(console: Console) -> dict[str, Any]:
    """The sweep, the shipped adapter and the reader: shares with intervals, for JSON."""
    questions = _questions()
    found = dict(zip([question.id for question in questions], _rankings(questions), strict=True))
    llm = load_llm(backend="transformers", adapter=None, max_tokens=MAX_TOKENS)
    assert isinstance(llm, ChatTransformers)
    llm = llm.model_copy(update={"tokens_per_batch": TOKENS_PER_BATCH})

    def asked(name: str, adapter: Path, passages: int) -> list[Marked]:
        arm = replace(ARMS["raft_rag"], title=name, adapter=adapter, k=passages)
        answers = asking.ask(arm, arm.prompt, questions, found, llm.with_adapter(adapter), choose=False)
        return scoring.mark(answers)

    sweep: dict[str, dict[str, Any]] = {}
    for key, run in RUNS.items():
        start = READER if run.from_reader else None
        folder, report = kept_run(raft_rows(run.recipe, EXAMPLES), ONE_PASS, start_from=start)
        sweep[key] = {"name": run.name, **asdict(run.recipe), "minutes": report["seconds"] / 60}
        sweep[key] |= figures(asked(run.name, folder, run.recipe.passages))
        console.print(f"{run.name}: correct {words(sweep[key]['correct'])}, abstained {words(sweep[key]['abstained'])}")
    marked = {
        "reader": asked("the reader", READER, RECIPE.passages),
        "raft": asked("RAFT", RAFT, RECIPE.passages),
    }
    right = {key: [one.correct for one in rows if one.answerable] for key, rows in marked.items()}
    families = [question.family for question in questions if question.answerable]
    result: dict[str, Any] = {
        "n": len(families),
        "n_unanswerable": len(questions) - len(families),
        "split": "dev",
        "examples": EXAMPLES,
        "recipe": asdict(RECIPE),
        "dtype": device.choose().dtype,
        "inputs": inputs_hash(),
        "sweep": sweep,
        **{key: figures(rows) for key, rows in marked.items()},
        "gain": paired_difference(right["raft"], right["reader"], families).as_dict(),
    }
    return result | {"aims": aims(result["raft"])}


def figures(marked: Sequence[Marked]) -> dict[str, Figure]:
    """What is right, cited and withheld, and how much is right where the evidence was given."""
    rows = scoring.metrics(marked)
    answerable = [one for one in marked if one.answerable]
    given = [bool(one.citation and one.citation.evidence) for one in answerable]
    families = [one.question.family for one in answerable]
    read = [(one.correct, family) for one, family, was in zip(answerable, families, given, strict=True) if was]
    rows["given"] = share(given, families)
    if read:
        rows["correct_given"] = share([right for right, _ in read], [family for _, family in read])
    return {name: rows[name] for name in FIGURES if name in rows}


def aims(row: dict[str, Figure]) -> dict[str, dict[str, Any]]:
    """By figure what was aimed at, and whether it is reached, by the value and by the whole interval."""
    told: dict[str, dict[str, Any]] = {}
    for name, aim in AIMS.items():
        most = name == "false_abstention"
        # an adapter that never cites has no precision, and no aim of it
        figure = row.get(name, {"value": 0.0, "low": 0.0, "high": 0.0})
        reached = figure["value"] <= aim if most else figure["value"] >= aim
        told[name] = {"aim": aim, "reached": reached, "surely": figure["high"] <= aim if most else figure["low"] >= aim}
    return told


def inputs_hash() -> str:
    """SHA-256 of all in the repository that the figures depend on: when it changes, they are out of date."""
    adapters = [weights_hash(adapter) for adapter in (READER, RAFT) if (adapter / "adapter_config.json").exists()]
    documents = [(document.id, document.page_content) for document in load_documents()]
    training = load_questions("train")
    inputs = (RUNS, EXAMPLES, ONE_PASS, AIMS, MAX_TOKENS, PASSAGE_TOKENS, CANDIDATES, ARMS["raft_rag"].prompt)
    return hashlib.sha256(repr((inputs, adapters, documents, training, _questions())).encode()).hexdigest()


def table(result: dict[str, Any]) -> Table:
    """The study for the terminal."""
    grid = Table("trained on", *FIGURES)
    rows = {**result["sweep"], "reader": {"name": "the reader", **result["reader"]}}
    for row in [*rows.values(), {"name": "RAFT, all questions", **result["raft"]}]:
        grid.add_row(row["name"], *(words(row[name]) if name in row else "" for name in FIGURES))
    for name, told in result["aims"].items():
        grid.add_row(f"aim: {name} {told['aim']}", "reached" if told["reached"] else "not reached")
    return grid


def _rankings(questions: Sequence[Question]) -> list[list[Document]]:
    passages = split_documents(load_documents(), PASSAGE_TOKENS)
    return hybrid_rankings(questions, passages, load_embedder(), CANDIDATES)


def _questions() -> list[Question]:
    return load_questions("dev", kinds=["single", "unanswerable"])
