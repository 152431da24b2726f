"""A small organisation with tiny models: what they answer means nothing, what is done with it does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from tests.tiny import HashEmbedder, save_lora
from workshop_utils.corpus import Question
from workshop_utils.corpus.questions import NO_ANSWER, Evidence, Kind
from workshop_utils.evaluation.compare import arms as arms_module
from workshop_utils.evaluation.compare import costs, run
from workshop_utils.evaluation.compare.arms import Arm
from workshop_utils.evaluation.compare.material import Later, Material
from workshop_utils.models import device
from workshop_utils.models.transformers_chat import ChatTransformers, Engine
from workshop_utils.tuning.forgetting import ForgettingProbe
from workshop_utils.tuning.run import REPORT

SHORT = 4


def document(n: int, minutes: int | None = None) -> Document:
    text = f"# About {n}\n\n## Time\n\nWait {minutes or n + 100} minutes for number {n}.\n"
    return Document(id=f"KB-{n}", page_content=text, metadata={"title": f"About {n}", "acl": ["everyone"]})


def question(n: int, kind: Kind = "single", answer: str | None = None) -> Question:
    gold = answer or (NO_ANSWER if kind == "unanswerable" else f"{n + 100} minutes")
    known = kind not in ("unanswerable", "restricted")
    return Question(
        id=f"KB-{n}-q1",
        question=f"How long do I wait for number {n}?",
        answer=gold,
        accept=(f"{n + 100} min",) if answer is None and known else (),
        kind=kind,
        sources=(f"KB-{n}",) if known else (),
        evidence=(Evidence(f"KB-{n}", f"Wait {n + 100} minutes for number {n}."),) if known else (),
        choices=() if kind == "unanswerable" else (f"{n + 100} minutes", "3 minutes", "a whole day"),
        choice=None if kind == "unanswerable" else 0,
        family=f"KB-{n}",
    )


@pytest.fixture
def material() -> Material:
    """Ten questions of all kinds, on documents of which one changes; eight others to take examples from."""
    asked = (
        *(question(n) for n in range(5)),
        question(5, "multi"),
        question(6, "changed"),
        question(7, "unanswerable"),
        question(8, "unanswerable"),
        question(9, "restricted"),
    )
    examples = (*(question(n) for n in range(20, 28)), question(28, "unanswerable"), question(29, "unanswerable"))
    documents = tuple(document(n) for n in (*range(7), *range(20, 28)))
    later = Later(
        tuple(document(n, 55 if n == 6 else None) for n in (*range(7), *range(20, 28))),
        (question(6, "changed", "55 minutes"),),
        {"KB-6-q1": ("106 minutes", "106 min")},
        1.5,
    )
    return Material("dev", asked, documents, examples, later)


class Counting(ChatTransformers):
    """Counts the prompts that it is asked and the conversations that it finds likely."""

    counts: Any  # of dict[str, int], which pydantic would copy

    def batch(self, inputs, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.counts["batch"] = self.counts.get("batch", 0) + len(inputs)
        return super().batch(inputs, *args, **kwargs)

    def batch_logprobs(self, conversations, answers):  # type: ignore[no-untyped-def]
        self.counts["logprobs"] = self.counts.get("logprobs", 0) + len(conversations)
        return super().batch_logprobs(conversations, answers)


@pytest.fixture
def counts() -> dict[str, int]:
    """How often the model was asked."""
    return {}


@pytest.fixture
def arms(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: dict[str, int]) -> dict[str, Arm]:
    """The nine arms with tiny adapters; models, embedder, cache and probes are stand-ins."""
    made: dict[str, Path] = {}
    for seed, name in enumerate(("reader", "task", "knowledge", "raft")):
        made[name] = save_lora(tmp_path / name, tiny_llama, seed=seed)
        report = {"seconds": 10.0 + seed, "tokens": 100, "peak_mb": 50.0 + seed}
        (made[name] / REPORT).write_text(json.dumps(report), "utf-8")
    monkeypatch.setenv("WORKSHOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WORKSHOP_DTYPE", "float32")
    engine = Engine.load(str(tiny_llama), device.choose(), local=True)

    def load(**_: object) -> ChatTransformers:
        return Counting(engine=engine, max_tokens=SHORT, counts=counts)

    def embedder() -> Embeddings:
        return HashEmbedder()

    def probed(llm: ChatTransformers) -> ForgettingProbe:
        known = (True, True, llm.adapter is None, llm.adapter is None)
        return ForgettingProbe(known, (-2.0, -2.2 if llm.adapter else -2.0), ("yes",))

    monkeypatch.setattr(run, "load_llm", load)
    monkeypatch.setattr(costs, "load_llm", load)
    monkeypatch.setattr(run, "load_embedder", embedder)
    monkeypatch.setattr(run, "kept_probe", probed)
    return {
        key: replace(
            arm,
            adapter=arm.adapter and made[arm.adapter.name],
            starts_from=arm.starts_from and made[arm.starts_from.name],
            shots=min(arm.shots, 4),
        )
        for key, arm in arms_module.ARMS.items()
    }
