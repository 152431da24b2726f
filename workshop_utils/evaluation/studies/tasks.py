"""What tuning brings on four tasks, beside prompting and beside programs without a model; on the development split.

The figures of lesson 06: ``workshop bench tasks --json data/results/tasks.json``, after ``workshop train`` of triage,
style, jargon and notes.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.messages import BaseMessage
from rich.console import Console
from rich.table import Table

from workshop_utils.corpus.tickets import TicketRecord
from workshop_utils.evaluation.answering import answer_all, kept_answers, weights_hash
from workshop_utils.evaluation.intervals import paired_difference
from workshop_utils.evaluation.studies.figures import Figure, share, words
from workshop_utils.evaluation.studies.runs import TOKENS_PER_BATCH
from workshop_utils.evaluation.tasks import (
    FIELDS,
    MAIN,
    Scores,
    abbreviated_text,
    glossary_text,
    keyword_record,
    label_agreement,
    load_labelled,
    parse_record,
    task_scores,
    template_reply,
)
from workshop_utils.models import device, load_embedder, load_llm
from workshop_utils.models.adapters import ADAPTERS
from workshop_utils.models.transformers_chat import ChatTransformers
from workshop_utils.tuning.tasks import (
    GUIDES,
    MAX_TOKENS,
    REQUESTS,
    ROLES,
    TASKS,
    Item,
    Task,
    record_json,
    task_items,
    task_prompt,
)

# development examples each arm is scored on
ASKED: dict[Task, int] = {"triage": 120, "style": 44, "jargon": 44, "notes": 44}
# training examples set aside to choose the number of worked examples on, and the numbers tried
HELD_OUT: dict[Task, int] = {"triage": 40, "style": 16, "jargon": 16, "notes": 16}
SHOTS = (2, 4, 8)
# tickets whose answering is timed, by every arm in one run
TIMED = 24
# the smallest difference of a score that matters, and how many times faster makes a difference
MARGIN = 0.05
FASTER = 2.0

NAMES = {
    "base": "untouched, told the rules",
    "few_shot": "untouched, rules and fixed examples",
    "nearest": "untouched, rules and the most similar examples",
    "adapter": "adapter, one line of instruction",
    "majority": "the commonest value of each field",
    "keywords": "a list of keywords",
    "copier": "the record of the most similar ticket",
    "classifier": "logistic regression on words",
    "template": "a fixed frame, filled in by a program",
    "glossary": "the glossary, put in by a program",
    "abbreviated": "the glossary backwards, by a program",
}
# which scores decide a claim, against which arm; "rival" is the better way of prompting
CLAIMS: dict[str, tuple[tuple[Task, str, str], ...]] = {
    "F0": (("triage", "fields", "base"), ("style", "rules", "base"), ("jargon", "checks", "base")),
    "F+2": (("triage", "extraction", "rival"), ("triage", "triage", "rival")),
    "F+3": (("triage", "valid_json", "rival"), ("style", "rules", "rival")),
    "FU1": (("style", "rules", "rival"), ("style", "content", "template")),
    "FU2": (
        ("jargon", "checks", "rival"),
        ("jargon", "f1", "rival"),
        ("jargon", "f1", "glossary"),
        ("notes", "checks", "rival"),
        ("notes", "f1", "rival"),
        ("notes", "f1", "abbreviated"),
    ),
    "FU3": (
        ("triage", "extraction", "rival"),
        ("triage", "triage", "rival"),
        ("triage", "extraction", "classifier"),
        ("triage", "triage", "classifier"),
    ),
}
RULE = (
    f"Each part is the adapter minus the other arm on the same examples. It holds where the difference is {MARGIN} "
    f"or more with an interval above 0, not where the interval ends below {MARGIN}. A claim whose parts differ holds "
    f"only when measured by some. FU4 holds where the adapter answers {FASTER:.0f} times as many tickets a second "
    "as the better way of prompting and gets more of them wholly right."
)


def study(console: Console) -> dict[str, Any]:
    """Every arm of every task with its intervals, differences, throughput, the coder's agreement and the verdicts."""
    # adapters and log-probabilities are the transformers backend's
    llm = cast(ChatTransformers, load_llm(backend="transformers", adapter=None))
    llm = llm.model_copy(update={"tokens_per_batch": TOKENS_PER_BATCH})
    embedder = load_embedder()
    tasks = {task: study_task(task, llm, embedder, console) for task in TASKS}
    timed = throughput(llm, embedder, tasks["triage"]["k"])
    labelled = load_labelled()
    agreed = label_agreement(labelled)
    agreed["agreement"] = share(agreed.pop("right"))
    result = {
        "split": "dev",
        "dtype": device.choose().dtype,
        "inputs": inputs_hash(),
        "margin": MARGIN,
        "rule": RULE,
        "tasks": tasks,
        "throughput": timed,
        "agreement": {"replies": len(labelled), "n": len(labelled) * len(labelled[0].labels), **agreed},
    }
    return {**result, "verdicts": verdicts(result), "parts": claim_parts(result)}


def study_task(task: Task, llm: ChatTransformers, embedder: Embeddings, console: Console) -> dict[str, Any]:
    """One task: the arms, and the adapter's paired differences to each of the others."""
    items = task_items(task, "dev", ASKED[task])
    train = task_items(task, "train")
    # the rules and fixed examples, which begin all prompts of an arm, are read once
    llm = llm.model_copy(update={"max_tokens": MAX_TOKENS[task], "share_prefix": True})
    k, trials = choose_shots(task, llm, embedder)
    rival = max(k, key=lambda way: trials[way][str(k[way])])
    prompts = task_prompts(task, items, train, embedder, k)
    arms: dict[str, dict[str, Any]] = {}
    scores: dict[str, list[Scores]] = {}
    for arm, asked in prompts.items():
        model = llm.with_adapter(ADAPTERS / task) if arm == "adapter" else llm.with_adapter(None)
        answers = kept_answers(model, asked, f"{task}, {NAMES[arm]}")
        arms[arm] = {"prompt_tokens": share(len(llm.encode(prompt)) for prompt in asked)}
        arms[arm]["examples"] = answers[:3]
        scores[arm] = task_scores(task, answers, items)
    for arm, answers in programs(task, items, train, embedder).items():
        arms[arm] = {"examples": answers[:3]}
        scores[arm] = task_scores(task, answers, items)
    scenarios = [item.scenario for item in items]
    for arm, rows in scores.items():
        figures = {name: share([row[name] for row in rows], scenarios) for name in rows[0]}
        arms[arm] = {"name": NAMES[arm], **figures, **arms[arm]}
        console.print(f"{task}, {NAMES[arm]}: {MAIN[task]} {words(figures[MAIN[task]])}")
    others = [arm for arm in scores if arm != "adapter"]
    differences = {f"adapter-{arm}": difference(scores["adapter"], scores[arm], scenarios) for arm in others}
    return {
        "n": len(items),
        "scenarios": len(set(scenarios)),
        "main": MAIN[task],
        "k": k,
        "trials": trials,
        "rival": rival,
        "arms": arms,
        "differences": {**differences, "adapter-rival": differences[f"adapter-{rival}"]},
        "texts": [{"id": item.id, "text": item.text, "gold": item.answer} for item in items[:3]],
    }


def difference(first: Sequence[Scores], second: Sequence[Scores], scenarios: Sequence[str]) -> dict[str, Figure]:
    """First minus second by score, paired, with intervals over scenarios."""
    return {
        name: paired_difference([a[name] for a in first], [b[name] for b in second], scenarios).as_dict()
        for name in first[0]
    }


def choose_shots(
    task: Task, llm: ChatTransformers, embedder: Embeddings
) -> tuple[dict[str, int], dict[str, dict[str, float]]]:
    """How many worked examples serve best, fixed ones and the most similar ones, tried on held-out training examples.

    Returns:
        The number for ``few_shot`` and ``nearest``, and the main score of each number tried.
    """
    train = task_items(task, "train")
    held_out = train[-HELD_OUT[task] :]
    known = {item.scenario for item in held_out}
    pool = [item for item in train if item.scenario not in known]
    best: dict[str, int] = {}
    trials: dict[str, dict[str, float]] = {"few_shot": {}, "nearest": {}}
    for k in SHOTS:
        for way, prompts in shot_prompts(task, held_out, pool, embedder, {"few_shot": k, "nearest": k}).items():
            answers = kept_answers(llm.with_adapter(None), prompts, f"{task}, {way}, {k} examples, held out")
            rows = task_scores(task, answers, held_out)
            trials[way][str(k)] = float(np.mean([row[MAIN[task]] for row in rows]))
    for way, tried in trials.items():
        best[way] = max(SHOTS, key=lambda k: (tried[str(k)], -k))
    return best, trials


def task_prompts(
    task: Task, items: Sequence[Item], train: Sequence[Item], embedder: Embeddings, k: Mapping[str, int]
) -> dict[str, list[list[BaseMessage]]]:
    """What each arm with a model is sent for each item."""
    return {
        "base": [task_prompt(task, item.text, guide=True) for item in items],
        **shot_prompts(task, items, train, embedder, k),
        "adapter": [task_prompt(task, item.text) for item in items],
    }


def shot_prompts(
    task: Task, items: Sequence[Item], pool: Sequence[Item], embedder: Embeddings, k: Mapping[str, int]
) -> dict[str, list[list[BaseMessage]]]:
    """Prompts with k worked examples: the same for all, from different scenarios; or those most similar to the text."""
    distinct = list({item.scenario: item for item in reversed(pool)}.values())[::-1]
    order = nearest(items, pool, embedder)
    fixed = distinct[: k["few_shot"]]
    return {
        "few_shot": [task_prompt(task, item.text, fixed, guide=True) for item in items],
        # the most similar one last, where it is nearest to the answer
        "nearest": [
            task_prompt(task, item.text, [pool[i] for i in row[: k["nearest"]][::-1]], guide=True)
            for item, row in zip(items, order, strict=True)
        ],
    }


def nearest(items: Sequence[Item], pool: Sequence[Item], embedder: Embeddings) -> list[list[int]]:
    """Indices into the pool, most similar text first, for each item."""
    known = np.array(embedder.embed_documents([item.text for item in pool]))
    asked = np.array(embedder.embed_documents([item.text for item in items]))
    return [[int(i) for i in row] for row in np.argsort(-(asked @ known.T), axis=1, kind="stable")[:, : max(SHOTS)]]


def programs(task: Task, items: Sequence[Item], train: Sequence[Item], embedder: Embeddings) -> dict[str, list[str]]:
    """What programs without a language model answer."""
    if task == "style":
        return {"template": [template_reply(item.text) for item in items]}
    if task == "jargon":
        return {"glossary": [glossary_text(item.text) for item in items]}
    if task == "notes":
        return {"abbreviated": [abbreviated_text(item.text) for item in items]}
    copied = [train[row[0]].answer for row in nearest(items, train, embedder)]
    return {
        "majority": [record_json(majority(train))] * len(items),
        "keywords": [record_json(keyword_record(item.text)) for item in items],
        "copier": copied,
        "classifier": classified(train, [item.text for item in items]),
    }


def majority(train: Sequence[Item]) -> TicketRecord:
    """The record whose every field has the commonest value of the training tickets."""
    records = [_record(item) for item in train]
    return TicketRecord(**{name: Counter(getattr(r, name) for r in records).most_common(1)[0][0] for name in FIELDS})


def classified(train: Sequence[Item], texts: Sequence[str]) -> list[str]:
    """Records by logistic regression on words and word pairs, one classifier a field; codes by their pattern."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    known = vectorizer.fit_transform([item.text for item in train])
    asked = vectorizer.transform(texts)
    records = [_record(item) for item in train]
    columns: dict[str, list[Any]] = {"error_code": [keyword_record(text).error_code for text in texts]}
    for name in FIELDS:
        if name != "error_code":
            model = LogisticRegression(C=10, max_iter=1000).fit(known, [getattr(r, name) for r in records])
            columns[name] = model.predict(asked).tolist()
    rows = zip(*(columns[name] for name in FIELDS), strict=True)
    return [record_json(TicketRecord(*row)) for row in rows]


def throughput(llm: ChatTransformers, embedder: Embeddings, k: Mapping[str, int]) -> dict[str, Any]:
    """Tickets a second by way of asking, in one run, each in batches; tokens read and written a ticket."""
    items = task_items("triage", "dev", TIMED)
    llm = llm.model_copy(update={"max_tokens": MAX_TOKENS["triage"]})
    rows: dict[str, Any] = {}
    for arm, prompts in task_prompts("triage", items, task_items("triage", "train"), embedder, k).items():
        model = llm.with_adapter(ADAPTERS / "triage" if arm == "adapter" else None)
        answer_all(model, prompts[:2], f"{arm}, warming up")
        start = time.perf_counter()
        answers = answer_all(model, prompts, f"{arm}, timed")
        seconds = time.perf_counter() - start
        rows[arm] = {
            "tickets_per_second": len(items) / seconds,
            "prompt_tokens": float(np.mean([len(llm.encode(prompt)) for prompt in prompts])),
            "answer_tokens": float(np.mean([llm.count_tokens(answer) + 1 for answer in answers])),
        }
    return {"n": len(items), **rows}


def claim_parts(result: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """By claim: which difference on which task decides, and what it says."""
    return {
        claim: [
            {"task": task, "score": score, "against": arm, "verdict": part(_difference(result, task, score, arm))}
            for task, score, arm in parts
        ]
        for claim, parts in CLAIMS.items()
    }


def part(figure: Mapping[str, float]) -> str:
    """What one difference says of a claim that something is better."""
    if figure["value"] >= MARGIN and figure["low"] > 0:
        return "holds"
    return "does not hold here" if figure["high"] < MARGIN else "not decidable here"


def verdicts(result: Mapping[str, Any]) -> dict[str, str]:
    """F0, F+2, F+3 and FU1 to FU4 by the rules that stand above."""
    found = {claim: together(parts) for claim, parts in claim_parts(result).items()}
    triage, timed = result["tasks"]["triage"], result["throughput"]
    ratio = timed["adapter"]["tickets_per_second"] / timed[triage["rival"]]["tickets_per_second"]
    right = part(triage["differences"]["adapter-rival"]["all_fields"])
    if ratio < 1 or right == "does not hold here":
        found["FU4"] = "does not hold here"
    else:
        found["FU4"] = "holds" if ratio >= FASTER and right == "holds" else "not decidable here"
    return found


def together(parts: Sequence[Mapping[str, str]]) -> str:
    """One verdict of several parts; where they differ, it names those that hold."""
    found = {row["verdict"] for row in parts}
    if len(found) == 1:
        return found.pop()
    if "holds" not in found:
        return "not decidable here"
    holding = [
        f"{row['task']}, {row['score']}, against {NAMES.get(row['against'], 'the better prompting')}"
        for row in parts
        if row["verdict"] == "holds"
    ]
    return f"holds only when measured by {'; '.join(holding)}"


def inputs_hash() -> str:
    """SHA-256 of all in the repository that the figures depend on: when it changes, they are out of date."""
    settings = (ASKED, HELD_OUT, SHOTS, TIMED, MARGIN, FASTER, CLAIMS, ROLES, GUIDES, REQUESTS, MAX_TOKENS)
    items = [task_items(task, split) for task in TASKS for split in ("train", "dev")]
    adapters = [weights_hash(ADAPTERS / task) for task in TASKS if _is_trained(ADAPTERS / task)]
    return hashlib.sha256(repr((settings, items, adapters, load_labelled())).encode()).hexdigest()


def table(result: dict[str, Any]) -> Table:
    """The study for the terminal."""
    grid = Table("task", "arm", "score", "value, 95% interval", "adapter minus arm")
    shown = {
        "triage": ("valid_json", "extraction", "triage", "fields", "all_fields"),
        "style": ("rules", "all_rules", "content", "own"),
        "jargon": ("checks", "all_checks", "f1"),
        "notes": ("checks", "all_checks", "f1"),
    }
    for task, scores in shown.items():
        for arm, row in result["tasks"][task]["arms"].items():
            for score in scores:
                minus = result["tasks"][task]["differences"].get(f"adapter-{arm}")
                grid.add_row(task, row["name"], score, words(row[score]), words(minus[score]) if minus else "")
            grid.add_section()
    for arm, row in result["throughput"].items():
        if arm != "n":
            speed = f"{row['tickets_per_second']:.2f} tickets/s, {row['prompt_tokens']:.0f} prompt tokens"
            grid.add_row("triage", NAMES[arm], "throughput", speed, "")
    agreed = result["agreement"]
    grid.add_row(
        "style", "check_style and a reader", "agreement", words(agreed["agreement"]), f"κ {agreed['kappa']:.2f}"
    )
    for claim, verdict in result["verdicts"].items():
        grid.add_row(claim, "", "verdict", verdict, "")
    return grid


def _difference(result: Mapping[str, Any], task: str, score: str, arm: str) -> dict[str, float]:
    found: dict[str, float] = result["tasks"][task]["differences"][f"adapter-{arm}"][score]
    return found


def _record(item: Item) -> TicketRecord:
    record = parse_record(item.answer)
    assert record is not None
    return record


def _is_trained(folder: Path) -> bool:
    return (folder / "adapter_config.json").exists()
