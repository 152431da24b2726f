"""Which worked examples, and how many passages, make few-shot + RAG the strongest rival of the tuned arms?

The choice behind the primary contrast of lesson 08: ``workshop bench rival --json data/results/rival.json``. The
untouched model, hybrid search, the development questions; the way whose answers are most often correct is the arm.
"""

from __future__ import annotations

import hashlib
from typing import Any

from rich.console import Console
from rich.table import Table

from workshop_utils.corpus import load_questions
from workshop_utils.evaluation.compare import asking, scoring
from workshop_utils.evaluation.compare.arms import MAX_TOKENS, RIVAL, RIVALS, arms_of
from workshop_utils.evaluation.compare.material import Material, company, is_answerable
from workshop_utils.evaluation.intervals import paired_difference
from workshop_utils.evaluation.studies.figures import words
from workshop_utils.evaluation.studies.runs import TOKENS_PER_BATCH
from workshop_utils.models import device, load_embedder, load_llm
from workshop_utils.models.transformers_chat import ChatTransformers
from workshop_utils.rag.prompts import PASSAGE_TOKENS

FIGURES = ("correct", "cited", "citation_precision", "abstained", "false_abstention", "form")


def study(console: Console) -> dict[str, Any]:
    """Every way on the development questions that everybody may ask: shares with intervals, for JSON."""
    material = _material()
    found = asking.search(
        [*material.questions, *asking.example_questions(material)], material.documents, load_embedder()
    )
    llm = load_llm(backend="transformers", adapter=None, max_tokens=MAX_TOKENS)
    assert isinstance(llm, ChatTransformers)
    llm = llm.model_copy(update={"tokens_per_batch": TOKENS_PER_BATCH, "share_prefix": True})
    rows: dict[str, dict[str, Any]] = {}
    right: dict[str, list[bool]] = {}
    for key, rival in RIVALS.items():
        arm = arms_of(key)["few_shot_rag"]
        prompt = asking.prompt_of(arm, material, found)
        marked = scoring.mark(asking.ask(arm, prompt, material.questions, found, llm, choose=False))
        figures = scoring.metrics(marked)
        right[key] = [one.correct for one in marked if one.answerable]
        rows[key] = {"name": rival.name, "k": rival.k, "examples": len(prompt.examples)}
        rows[key] |= {name: figures[name] for name in FIGURES if name in figures}
        console.print(f"{rival.name}: correct {words(rows[key]['correct'])}")
    best = max(rows, key=lambda key: float(rows[key]["correct"]["value"]))
    families = [question.family for question in material.questions if is_answerable(question)]
    return {
        "n": len(material.questions),
        "split": "dev",
        "model": "SmolLM2-135M-Instruct, untouched",
        "dtype": device.choose().dtype,
        "inputs": inputs_hash(),
        "rivals": rows,
        "best": best,
        "lead": {key: paired_difference(right[best], right[key], families).as_dict() for key in rows if key != best},
    }


def inputs_hash() -> str:
    """SHA-256 of all in the repository that the figures depend on: when it changes, they are out of date."""
    material = _material()
    documents = [(document.id, document.page_content) for document in material.documents]
    inputs = (RIVALS, MAX_TOKENS, PASSAGE_TOKENS, asking.SEED, documents, material.questions, material.examples)
    return hashlib.sha256(repr(inputs).encode()).hexdigest()


def table(result: dict[str, Any]) -> Table:
    """The study for the terminal."""
    grid = Table("way", "passages", "examples", *FIGURES)
    for key, row in result["rivals"].items():
        mark = " (the arm)" if key == RIVAL else ""
        cells = [words(row[name]) if name in row else "" for name in FIGURES]
        grid.add_row(row["name"] + mark, str(row["k"]), str(row["examples"]), *cells)
    return grid


def _material() -> Material:
    return company("dev", [question for question in load_questions("dev") if question.kind != "restricted"])
