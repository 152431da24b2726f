"""The comparison from material to figures: ``workshop compare``.

Answers and choices are kept in the cache as soon as an arm has given them: interrupted, the same call goes on there.
Nothing is drawn at random but by fixed seeds, so on one machine the same material gives the same figures, times apart.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from rich.console import Console

from workshop_utils.corpus.questions import KINDS
from workshop_utils.errors import InputError
from workshop_utils.evaluation.compare import asking, costs, scoring
from workshop_utils.evaluation.compare.arms import ARMS, MAX_TOKENS, Arm
from workshop_utils.evaluation.compare.asking import Asked, Found
from workshop_utils.evaluation.compare.contrasts import differences
from workshop_utils.evaluation.compare.material import Material, is_answerable
from workshop_utils.evaluation.compare.revision import commit, inputs_hash
from workshop_utils.evaluation.intervals import paired_difference
from workshop_utils.evaluation.studies.figures import Figure, interval, share
from workshop_utils.evaluation.studies.runs import TOKENS_PER_BATCH
from workshop_utils.models import device, load_embedder, load_llm
from workshop_utils.models.transformers_chat import AdapterError, ChatTransformers, check_adapter
from workshop_utils.rag.prompt import Prompt
from workshop_utils.tuning.forgetting import ForgettingProbe, kept_probe

QUICK_TIMED = 10


def compare(
    material: Material, console: Console, *, arms: Mapping[str, Arm] = ARMS, quick: bool = False
) -> dict[str, Any]:
    """Ask every arm every question, and measure what the answers are worth and what the arm takes.

    Args:
        arms: those to compare, by key.
        quick: on a sample of the questions, of each kind its share, with fewer timed one by one, and without the probes
            of what tuning makes a model forget.

    Returns:
        For JSON: ``arms`` by key, every figure as ``value``, ``low``, ``high`` and ``n``, those left out that an arm
        cannot have; ``differences``, as ``contrasts.differences`` returns them; ``answers`` by arm and question id;
        ``counts`` of questions by kind; ``split``, ``n``, ``quick``, ``commit``, ``inputs`` (what the figures depend
        on), ``dtype``, and ``seconds``, those of ``stages`` together: an answer from the cache counts what it took
        when it was made.

    Raises:
        workshop_utils.errors.InputError: there are no questions.
        workshop_utils.models.transformers_chat.AdapterError: an adapter is missing or damaged.
        workshop_utils.models.store.ModelStoreError: a model cannot be had.
    """
    if not material.questions:
        raise InputError("There are no questions to compare on.")
    check(arms)
    if quick:
        material = material.sample()
    result = {
        "split": material.split,
        "n": len(material.questions),
        "quick": quick,
        "commit": commit(),
        "inputs": inputs_hash(material, arms),
        "dtype": device.choose().dtype,
        "counts": _counts(material),
    }
    stages: dict[str, float] = {}
    embedder = load_embedder()
    console.print(f"{len(material.questions)} questions, {len(arms)} arms")
    with _timed(stages, "search"):
        examples = asking.example_questions(material)
        found = asking.search([*material.questions, *examples], material.documents, embedder)
        later = material.later
        found_later = asking.search(later.questions, later.documents, embedder) if later else {}
        prompts = {key: asking.prompt_of(arm, material, found) for key, arm in arms.items()}
    llm = load_llm(backend="transformers", adapter=None, max_tokens=MAX_TOKENS)
    assert isinstance(llm, ChatTransformers)
    llm = llm.model_copy(update={"tokens_per_batch": TOKENS_PER_BATCH, "share_prefix": True})
    outcomes = {}
    for key, arm in arms.items():
        outcomes[key] = _asked(arm, prompts[key], material, found, found_later, llm.with_adapter(arm.adapter))
        correct = outcomes[key].row.get("correct")
        console.print(f"{arm.title}: correct {interval(correct)}" if correct else arm.title)
    stages["answers"] = sum(outcome.seconds for outcome in outcomes.values())
    rows = {key: outcome.row for key, outcome in outcomes.items()}
    with _timed(stages, "forgetting"):
        for key, change in ({} if quick else _forgetting(arms, llm)).items():
            rows[key]["forgetting"] = change
    del llm
    gc.collect()
    with _timed(stages, "latency"):
        for key, taken in _costs(material, arms, prompts, embedder, quick).items():
            rows[key] |= taken
    right = {key: outcome.right for key, outcome in outcomes.items()}
    families = [question.family for question in material.questions if is_answerable(question)]
    return result | {
        "seconds": sum(stages.values()),
        "stages": stages,
        "arms": rows,
        "differences": differences(right, families) if families else [],
        "answers": {key: outcome.answers for key, outcome in outcomes.items()},
    }


def check(arms: Mapping[str, Arm]) -> None:
    """See that every arm's adapter can be used.

    Raises:
        AdapterError: one is missing or damaged; the message says how to make it.
    """
    for arm in arms.values():
        if arm.adapter is not None:
            try:
                check_adapter(arm.adapter)
            except AdapterError as error:
                remedy = f" To train it: workshop train {arm.training}" if arm.training else ""
                raise AdapterError(f"{arm.title}: {error}{remedy}") from error


@dataclass(frozen=True)
class _Outcome:
    """What one arm answered: its figures, its answers by question, which of the answerable are right, seconds."""

    row: dict[str, Any]
    answers: dict[str, str]
    right: list[bool]
    seconds: float


def _asked(
    arm: Arm, prompt: Prompt, material: Material, found: Found, found_later: Found, llm: ChatTransformers
) -> _Outcome:
    asked = asking.ask(arm, prompt, material.questions, found, llm)
    seconds = asked.seconds
    marked = scoring.mark(asked)
    row = _described(arm) | scoring.metrics(marked) | _tokens(asked, llm)
    answers = dict(zip([question.id for question in asked.questions], asked.answers, strict=True))
    if material.later is not None:
        # without retrieval nothing that an arm is sent has changed
        after = [answers[question.id] for question in material.later.questions]
        if arm.retrieves:
            again = asking.ask(arm, prompt, material.later.questions, found_later, llm, choose=False)
            seconds += again.seconds
            after = list(again.answers)
        row |= scoring.staleness(material.later, after)
    return _Outcome(row, answers, [one.correct for one in marked if one.answerable], seconds)


def _counts(material: Material) -> dict[str, int]:
    counted = Counter(question.kind for question in material.questions)
    return {kind: counted[kind] for kind in KINDS if counted[kind]}


def _described(arm: Arm) -> dict[str, Any]:
    return {"title": arm.title, "saw": arm.saw, "redone_when": arm.redone_when, "steps": list(arm.steps)}


def _tokens(asked: Asked, llm: ChatTransformers) -> dict[str, Figure]:
    """Tokens read and written for an answer, chat template included."""
    families = [question.family for question in asked.questions]
    return {
        "prompt_tokens": share([len(llm.encode(prompt)) for prompt in asked.messages], families),
        "answer_tokens": share([llm.count_tokens(answer) for answer in asked.answers], families),
    }


def _forgetting(arms: Mapping[str, Arm], llm: ChatTransformers) -> dict[str, dict[str, Figure]]:
    """What each tuned arm does worse than the untouched model on what has nothing to do with the questions."""
    adapters = {arm.adapter for arm in arms.values() if arm.adapter is not None}
    if not adapters:
        return {}
    before = kept_probe(llm)
    changed = {adapter: _change(kept_probe(llm.with_adapter(adapter)), before) for adapter in sorted(adapters)}
    return {key: changed[arm.adapter] for key, arm in arms.items() if arm.adapter is not None}


def _change(after: ForgettingProbe, before: ForgettingProbe) -> dict[str, Figure]:
    """Of the share of general questions answered right, and of the mean log-probability of a token of prose."""
    return {
        "knowledge": paired_difference(after.correct, before.correct).as_dict(),
        "logprob_change": paired_difference(after.logprob_per_token, before.logprob_per_token).as_dict(),
    }


def _costs(
    material: Material, arms: Mapping[str, Arm], prompts: Mapping[str, Prompt], embedder: Embeddings, quick: bool
) -> dict[str, dict[str, Any]]:
    timed = [question for question in material.questions if question.kind == "single"] or list(material.questions)
    timed = timed[: QUICK_TIMED if quick else costs.TIMED]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        retriever, index_seconds = costs.built_index(material.documents, embedder, Path(folder))
        latency = costs.latencies(arms, prompts, timed, retriever)
    update = material.later.seconds if material.later else None
    return {key: {"latency": latency[key], "cost": costs.cost(arm, index_seconds, update)} for key, arm in arms.items()}


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    stages[name] = time.perf_counter() - started
