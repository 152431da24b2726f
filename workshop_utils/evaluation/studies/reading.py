"""The figures of lesson 04 on answering: what the model is given to read, when it should abstain, seconds by stage.

On the development questions: ``workshop bench reading --json data/results/reading.json``. Where ``workshop bench
reader`` has run before, the answers that both need are taken from the cache.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, cast

import numpy as np
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from rich.console import Console, Group
from rich.table import Table
from tqdm.auto import tqdm

from workshop_utils.corpus import Question, data_dir, load_documents, load_questions, split_documents
from workshop_utils.corpus.questions import golden_passages
from workshop_utils.evaluation.answering import kept_answers, weights_hash
from workshop_utils.evaluation.intervals import LEVEL, RESAMPLES, Estimate, paired_difference
from workshop_utils.evaluation.metrics import abstains, abstention, contains_answer
from workshop_utils.evaluation.selective import abstention_probability, auroc, risk_coverage
from workshop_utils.evaluation.studies.figures import model_name, share, words
from workshop_utils.evaluation.studies.prompts import VARIANTS, numbered, reading_scores
from workshop_utils.evaluation.studies.reader import MAX_TOKENS, rank
from workshop_utils.models import load_embedder, load_llm
from workshop_utils.models.adapters import READER
from workshop_utils.models.llm import count_tokens
from workshop_utils.models.transformers_chat import ChatTransformers
from workshop_utils.rag import load_rag
from workshop_utils.rag.prompts import CLOSED_BOOK_PROMPT, PASSAGE_TOKENS, READER_K, READER_PROMPT, READING_PROMPT
from workshop_utils.retrieval.hybrid import CANDIDATES
from workshop_utils.retrieval.rankings import dense_rankings

KS = (1, 2, 3, 5, 8)
LONG_PASSAGE = 120
POSITIONS = (1, 3, 5)
# every second question is asked with its evidence in each place
POSITION_STEP = 2
DROPPED = (0.25, 0.5, 0.75)
LATENCY_KS = (1, 3, 8)
LATENCY_N = 20
SEED = 0

Passages = Sequence[Document]


def study(console: Console, every: int = 1) -> dict[str, Any]:
    """All figures, for JSON; with ``every`` above 1 on a part of the questions, to try it out."""
    single, unanswerable = (part[::every] for part in _questions())
    questions = [*single, *unanswerable]
    passages = split_documents(load_documents(), PASSAGE_TOKENS)
    embedder = load_embedder()
    dense = dense_rankings(questions, passages, embedder, CANDIDATES)
    # log-probabilities are not part of LangChain's interface
    llm = cast(ChatTransformers, load_llm(backend="transformers", max_tokens=MAX_TOKENS))
    asker = _Asker(llm, single)
    console.print("passages given")
    by_k = {k: asker.ask(questions, [row[:k] for row in dense], f"{k} passages") for k in KS}
    answers = by_k[READER_K]
    console.print("longer passages")
    wide = dense_rankings(single, split_documents(load_documents(), LONG_PASSAGE), embedder, READER_K)
    by_size = {PASSAGE_TOKENS: answers, LONG_PASSAGE: asker.ask(single, wide, "longer passages")}
    base = asker.right(answers)
    result = {
        "n": len(single),
        "n_unanswerable": len(unanswerable),
        "split": "dev",
        "kinds": ["single"],
        "seed": SEED,
        "model": model_name(llm),
        "inputs": inputs_hash(),
        "k": [
            {"k": k} | asker.scores([row[:k] for row in dense], given) | asker.minus(given, base, k != READER_K)
            for k, given in by_k.items()
        ],
        "untouched": _untouched(),
        "sizes": [
            {"size": size, "k": READER_K}
            | asker.scores(wide if size == LONG_PASSAGE else [row[:READER_K] for row in dense], given)
            | asker.minus(given, base, size != PASSAGE_TOKENS)
            for size, given in by_size.items()
        ],
    }
    console.print("the place of the evidence")
    result["position"] = _position(asker, passages, dense)
    console.print("the quality of the search")
    result["quality"] = _quality(asker, passages, dense, rank("hybrid", questions), unanswerable, answers)
    console.print("abstention")
    result["abstention"] = _abstention(llm, questions, dense, answers)
    console.print("seconds by stage")
    result["latency"] = _latency(single[:LATENCY_N])
    return result


def inputs_hash() -> str:
    """SHA-256 of all in the repository that the figures depend on: when it changes, they are out of date."""
    documents = [(document.id, document.page_content) for document in load_documents()]
    settings = (
        KS,
        LONG_PASSAGE,
        POSITIONS,
        POSITION_STEP,
        DROPPED,
        LATENCY_KS,
        LATENCY_N,
        SEED,
        MAX_TOKENS,
        CANDIDATES,
    )
    asked = (READER_PROMPT, READER_K, PASSAGE_TOKENS, weights_hash(READER), _prompt_study()["inputs"])
    return hashlib.sha256(repr((settings, asked, documents, _questions())).encode()).hexdigest()


def table(result: dict[str, Any]) -> Group:
    """The study for the terminal."""
    names = ("correct", "hit", "correct_given_hit", "cited")
    given = Table("passages", "words each", *names, "tokens")
    for row in result["k"]:
        given.add_row(
            str(row["k"]), str(PASSAGE_TOKENS), *(_shown(row, name) for name in names), f"{row['tokens']:.0f}"
        )
    for row in result["sizes"][1:]:
        given.add_row(str(row["k"]), str(row["size"]), *(_shown(row, name) for name in names), f"{row['tokens']:.0f}")
    place = Table("evidence stands", "correct", "cited right")
    for row in result["position"]["rows"]:
        place.add_row(f"{row['position']} of {result['position']['k']}", words(row["correct"]), words(row["cited"]))
    quality = Table("search", "hit@3", "correct")
    for row in result["quality"]["points"]:
        quality.add_row(row["retriever"], words(row["hit@3"]), words(row["correct"]))
    quality.add_row("slope", "", words(result["quality"]["slope"]))
    quiet = Table("abstention", "")
    for name in ("recall", "needless", "precision"):
        quiet.add_row(name, _shown(result["abstention"], name))
    for name, score in result["abstention"]["scores"].items():
        quiet.add_row(f"{name}, area under ROC", f"{score['auroc']:.2f}")
    latency = Table(f"passages given ({result['latency']['backend']})", "stage", "p50 s", "p95 s")
    for name, stages in result["latency"]["rows"].items():
        for stage, seconds in stages.items():
            latency.add_row(name, stage, f"{seconds['p50']:.3f}", f"{seconds['p95']:.3f}")
    return Group(given, place, quality, quiet, latency)


class _Asker:
    """One model, asked in its own way; scores are those of the questions with one fact, which come first."""

    def __init__(self, llm: ChatTransformers, single: Sequence[Question]) -> None:
        self.llm = llm
        self.single = single
        self.families = [question.family for question in single]

    def ask(self, questions: Sequence[Question], shown: Sequence[Passages], name: str) -> list[str]:
        return kept_answers(self.llm, self.prompts(questions, shown), name) if questions else []

    def prompts(self, questions: Sequence[Question], shown: Sequence[Passages]) -> list[list[BaseMessage]]:
        return numbered(READER_PROMPT, questions, shown)

    def right(self, answers: Sequence[str]) -> list[bool]:
        return [contains_answer(a, q.accepted) for a, q in zip(answers, self.single, strict=False)]

    def scores(self, shown: Sequence[Passages], answers: Sequence[str]) -> dict[str, Any]:
        own = list(shown[: len(self.single)])
        estimates = reading_scores(self.single, self.families, own, answers[: len(self.single)])
        messages = [message for prompt in self.prompts(self.single, own) for message in prompt]
        tokens = sum(count_tokens(self.llm, str(message.content)) for message in messages)
        return {name: estimate.as_dict() for name, estimate in estimates.items()} | {
            "tokens": tokens / len(self.single)
        }

    def minus(self, answers: Sequence[str], base: Sequence[bool], wanted: bool) -> dict[str, Any]:
        if not wanted:
            return {}
        return {"difference": paired_difference(self.right(answers), base, self.families).as_dict()}


def _position(asker: _Asker, passages: Passages, dense: Sequence[Passages]) -> dict[str, Any]:
    """The same five passages in another order: one holds the evidence, the others are the closest that do not."""
    most = max(POSITIONS)
    questions, shown = [], []
    for question, ranking in list(zip(asker.single, dense, strict=False))[::POSITION_STEP]:
        golden = golden_passages(question, passages)
        right = next((passage for passage in (*ranking, *passages) if passage.id in golden), None)
        if right is None:
            continue
        others = [passage for passage in ranking if passage.id not in golden][: most - 1]
        questions.append(question)
        shown.append({place: [*others[: place - 1], right, *others[place - 1 :]] for place in POSITIONS})
    part = _Asker(asker.llm, questions)
    rows, correct = [], {}
    for place in POSITIONS:
        given = [orders[place] for orders in shown]
        answers = part.ask(questions, given, f"evidence at {place}")
        correct[place] = part.right(answers)
        scores = part.scores(given, answers)
        rows.append({"position": place, "correct": scores["correct"], "cited": scores["cited"]})
    first, middle, last = (correct[place] for place in POSITIONS)
    return {
        "n": len(questions),
        "k": most,
        "rows": rows,
        "first_minus_middle": paired_difference(first, middle, part.families).as_dict(),
        "first_minus_last": paired_difference(first, last, part.families).as_dict(),
    }


def _quality(
    asker: _Asker,
    passages: Passages,
    dense: Sequence[Passages],
    hybrid: Sequence[Passages],
    unanswerable: Sequence[Question],
    answers: Sequence[str],
) -> dict[str, Any]:
    """Answers by how often the search finds the evidence: with a better search, and with worse ones made of it."""
    single, families = asker.single, asker.families
    golden = [golden_passages(question, passages) for question in single]
    top = [list(row[:READER_K]) for row in dense[: len(single)]]
    found = np.array([any(p.id in gold for p in row) for row, gold in zip(top, golden, strict=True)])
    right = np.array(asker.right(answers))

    without = [[p for p in row if p.id not in gold][:READER_K] for row, gold in zip(dense, golden, strict=False)]
    without_right = _replaced(asker, right, without, found, "evidence dropped")
    repaired = [
        [*row[:-1], next(p for p in passages if p.id in gold)] if gold else row
        for row, gold in zip(top, golden, strict=True)
    ]
    whole = np.array([bool(gold) for gold in golden])
    perfect_right = _replaced(asker, right, repaired, ~found & whole, "evidence added")
    better = [list(row[:READER_K]) for row in hybrid]
    better_right = asker.right(asker.ask([*single, *unanswerable], better, "hybrid search"))
    better_found = [any(p.id in gold for p in row) for row, gold in zip(better, golden, strict=False)]
    rng = random.Random(SEED)
    blind = [rng.sample(list(passages), READER_K) for _ in single]
    blind_right = asker.right(asker.ask(single, blind, "random passages"))
    blind_found = [any(p.id in gold for p in row) for row, gold in zip(blind, golden, strict=True)]
    # one coin a question, so that what is dropped at a quarter is dropped at a half too
    coin = np.random.default_rng(SEED).random(len(single))

    arms: dict[str, tuple[Sequence[bool], Sequence[bool]]] = {
        "perfect": (whole.tolist(), perfect_right.tolist()),
        "hybrid": (better_found, better_right),
        "dense": (found.tolist(), right.tolist()),
    }
    for part in DROPPED:
        dropped = coin < part
        arms[f"{part:.0%} dropped"] = (
            (found & ~dropped).tolist(),
            np.where(dropped, without_right, right).tolist(),
        )
    arms["random"] = (blind_found, blind_right)
    result: dict[str, Any] = {
        "points": [
            {
                "retriever": name,
                "hit@3": share(hits, families),
                "correct": share(correct, families),
            }
            for name, (hits, correct) in arms.items()
        ],
        "slope": slope([a for a, _ in arms.values()], [b for _, b in arms.values()], families).as_dict(),
    }
    for name, chosen in (("correct_given_hit", found), ("correct_given_miss", ~found)):
        if chosen.any():
            own = [family for family, yes in zip(families, chosen, strict=True) if yes]
            result[name] = share(right[chosen].tolist(), own)
    return result


def _replaced(asker: _Asker, right: Any, shown: Sequence[Passages], where: Any, name: str) -> Any:
    """Whether answers are right, those ``where`` asked again with other passages."""
    places = [int(place) for place in np.flatnonzero(where)]
    asked = [asker.single[place] for place in places]
    answers = asker.ask(asked, [shown[place] for place in places], name)
    result = right.copy()
    result[places] = _Asker(asker.llm, asked).right(answers)
    return result


def slope(hits: Sequence[Sequence[bool]], correct: Sequence[Sequence[bool]], families: Sequence[str]) -> Estimate:
    """The least-squares slope of the share correct on the share found, through one point an arm.

    Args:
        hits, correct: of each arm on the same questions, shape (arms, n).
        families: of the questions; whole families are drawn for the interval.
    """
    number = {family: place for place, family in enumerate(dict.fromkeys(families))}
    member = np.array([number[family] for family in families])
    belongs = np.eye(len(number))[member]
    counts = belongs.sum(axis=0)
    x, y = (np.asarray(values, dtype=float) @ belongs for values in (hits, correct))

    def fitted(drawn: Any) -> Any:
        across, up = (values[:, drawn].sum(axis=-1) / counts[drawn].sum(axis=-1) for values in (x, y))
        across, up = across - across.mean(axis=0), up - up.mean(axis=0)
        return (across * up).sum(axis=0) / (across**2).sum(axis=0)

    draws = np.random.default_rng(SEED).integers(0, len(number), size=(RESAMPLES, len(number)))
    low, high = np.nanquantile(fitted(draws), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(fitted(np.arange(len(number)))), float(low), float(high), len(families))


def _abstention(
    llm: ChatTransformers, questions: Sequence[Question], dense: Sequence[Passages], answers: Sequence[str]
) -> dict[str, Any]:
    quiet = [abstains(answer) for answer in answers]
    answerable = [question.answerable for question in questions]
    correct = [contains_answer(answer, question.accepted) for answer, question in zip(answers, questions, strict=True)]
    prompts = numbered(READER_PROMPT, questions, [row[:READER_K] for row in dense])
    doubts = {
        "p_abstain": [abstention_probability(llm, prompt) for prompt in tqdm(prompts, desc="abstention")],
        "cosine": [-float(row[0].metadata["score"]) for row in dense],
    }
    families = [question.family for question in questions]
    result: dict[str, Any] = {name: e.as_dict() for name, e in abstention(quiet, answerable, families).items()}
    result["scores"] = {}
    for name, doubt in doubts.items():
        curve = [asdict(point) for point in risk_coverage(doubt, correct, [not silent for silent in quiet])]
        if name == "cosine":  # high is good: answered are those above the threshold
            curve = [point | {"threshold": -point["threshold"]} for point in curve]
        result["scores"][name] = {"auroc": auroc(doubt, [not can for can in answerable]), "curve": curve}
    return result


def _latency(questions: Sequence[Question]) -> dict[str, Any]:
    """Seconds by stage, one question at a time as a person would ask."""
    llm = load_llm(max_tokens=MAX_TOKENS)
    rag = load_rag(llm, k=max(LATENCY_KS))
    rows: dict[str, list[dict[str, float]]] = {"closed book": []}
    untouched = load_llm(adapter=None, max_tokens=MAX_TOKENS)
    untouched.invoke("Hello.")
    for question in tqdm(questions, desc="closed book"):
        started = time.perf_counter()
        untouched.invoke(CLOSED_BOOK_PROMPT.messages(question.question, []))
        rows["closed book"].append({"generation": time.perf_counter() - started})
    for k in LATENCY_KS:
        # room for all of them
        reading = replace(rag, retriever=rag.retriever.model_copy(update={"k": k}), read=k, budget=rag.budget * k)
        reading.ask(questions[0].question)  # what is loaded at the first call is not a stage's own time
        rows[str(k)] = [reading.ask(question.question).seconds for question in tqdm(questions, desc=f"k = {k}")]
    return {
        "backend": llm._llm_type,
        "n": len(questions),
        "rows": {name: _percentiles(seconds) for name, seconds in rows.items()},
    }


def _percentiles(rows: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    by_stage = {stage: [row[stage] for row in rows] for stage in rows[0]}
    by_stage["total"] = [sum(row.values()) for row in rows]
    return {stage: {f"p{q}": float(np.percentile(seconds, q)) for q in (50, 95)} for stage, seconds in by_stage.items()}


def _untouched() -> list[dict[str, Any]]:
    """The untouched model with the prompt of lesson 01, as the study of prompts has measured it."""
    rows = {row["name"]: row for row in _prompt_study()["variants"]}
    return [
        rows[variant.name]
        for variant in VARIANTS
        if variant.prompt == READING_PROMPT and variant.passage_tokens == PASSAGE_TOKENS
    ]


def _prompt_study() -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((data_dir() / "results" / "prompts.json").read_text("utf-8"))
    return stored


def _questions() -> tuple[list[Question], list[Question]]:
    return load_questions("dev", kinds=["single"]), load_questions("dev", kinds=["unanswerable"])


def _shown(row: dict[str, Any], name: str) -> str:
    """A figure that may be missing, because there was nothing to average."""
    return words(row[name]) if name in row else ""
