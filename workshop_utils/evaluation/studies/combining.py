"""Tuning for form, retrieval for facts: put together for house style (C1) and for plain language on bulletins (C3).

The figures of lesson 08: ``workshop bench combining --json data/results/combining.json``.

C1. Does an adapter that learnt a style, and never read a passage, spoil RAG? And do facts and style come together in
one reply, when one prompt has all (the passages, the style adapter), when two adapters are added into one, or in two
passes: the reader answers, then the style adapter writes the reply?

C3. Bulletins that arrive after all training: the dated stream's own, and new editions in which a program has changed
figures. Who knows the new facts, and who says them plainly?

Questions are of the development and training splits, as in lesson 03: no adapter here has learnt from either.
"""

from __future__ import annotations

import hashlib
import random
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from langchain_core.documents import Document
from rich.console import Console
from rich.table import Table

from workshop_utils.corpus import Question, load_documents, load_questions, split_documents
from workshop_utils.corpus.documents import EVERYONE
from workshop_utils.corpus.updates import documents_after, load_updates, questions_after
from workshop_utils.evaluation.answering import kept_answers, weights_hash
from workshop_utils.evaluation.house_style import check_style
from workshop_utils.evaluation.metrics import abstains, contains_answer
from workshop_utils.evaluation.studies.editions import new_editions
from workshop_utils.evaluation.studies.figures import Figure, share, words
from workshop_utils.evaluation.studies.prompts import numbered
from workshop_utils.evaluation.studies.reader import MAX_TOKENS as READER_TOKENS
from workshop_utils.evaluation.studies.reader import rank
from workshop_utils.evaluation.studies.runs import TOKENS_PER_BATCH
from workshop_utils.evaluation.studies.tasks import ASKED, MARGIN, difference, part
from workshop_utils.evaluation.tasks import FIGURE, Scores, jargon_scores, task_scores
from workshop_utils.models import device, load_embedder, load_llm, store
from workshop_utils.models.adapters import JARGON, READER, STYLE
from workshop_utils.models.transformers_chat import ChatTransformers
from workshop_utils.rag.answer import CITATION, parse_citations
from workshop_utils.rag.prompt import Prompt
from workshop_utils.rag.prompts import (
    CLOSED_BOOK_PROMPT,
    PASSAGE_TOKENS,
    READER_K,
    READER_PROMPT,
    READING_K,
    READING_PROMPT,
)
from workshop_utils.retrieval.rankings import hybrid_rankings
from workshop_utils.tuning.joining import join_adapters
from workshop_utils.tuning.tasks import GUIDES, MAX_TOKENS, REQUESTS, ROLES, task_items, task_prompt

FACTS = 80
MESSAGES = 48
SEED = 0
# a two-sided sign-flip test over fewer families cannot fall below 0.05, whatever they show
LEAST_FAMILIES = 6
BULLETINS = "clinical-bulletins"
SHOWN = 3
# the score by which a set is judged first
MAIN = {
    "facts": "correct",
    "style": "rules",
    "messages": "fact",
    "notes": "checks",
    "bulletins": "correct",
    "plain": "checks",
}
WAYS: dict[str, tuple[Prompt, int]] = {"reading": (READING_PROMPT, READING_K), "reader": (READER_PROMPT, READER_K)}

NAMES = {
    "base": "untouched",
    "reader": "reader",
    "style": "style adapter",
    "jargon": "jargon adapter",
    "joined": "reader and style adapter added into one",
    "alone": "style adapter, the message alone",
    "prompted": "untouched, told the rules, with passages",
    "one_pass": "style adapter, with passages",
    "two_passes": "reader, then style adapter",
    "checked": "the same, and a program puts back a lost answer",
    "closed": "jargon adapter, closed book",
    "read": "jargon adapter, updated index",
    "living": "reader, updated index",
    "frozen": "reader, index of the first day",
    "passage": "the passage as it is",
}
# the parts of each claim: set, score, arm, against which arm, and how it is judged
PARTS: dict[str, dict[str, tuple[str, str, str, str, str]]] = {
    "C1": {
        "facts": ("messages", "fact", "two_passes", "alone", "better"),
        "style": ("messages", "rules", "two_passes", "reader", "better"),
        "kept": ("messages", "fact", "two_passes", "reader", "kept"),
        "facts, checked": ("messages", "fact", "checked", "alone", "better"),
        "style, checked": ("messages", "rules", "checked", "reader", "better"),
        "kept, checked": ("messages", "fact", "checked", "reader", "kept"),
        "style adapter hurts RAG": ("facts", "correct", "style", "base", "hurts"),
    },
    "C3": {
        "form": ("notes", "checks", "jargon", "base", "better"),
        "form beside the reader": ("notes", "checks", "jargon", "reader", "better"),
        "latest": ("bulletins", "correct", "living", "closed", "better"),
        "updated": ("bulletins", "correct", "living", "frozen", "better"),
        "form of bulletins": ("plain", "checks", "jargon", "base", "better"),
        "kept": ("plain", "fact", "jargon", "passage", "kept"),
        "jargon adapter hurts RAG": ("bulletins", "correct", "read", "living", "hurts"),
    },
}
NEEDED = {"C1": ("facts", "style", "kept"), "C3": ("form", "form beside the reader", "latest", "updated")}
RULE = (
    f"A part that is 'better' holds where the difference is {MARGIN} or more with an interval above 0, not where the "
    f"interval ends below {MARGIN}. 'Kept' holds where at most {MARGIN} of the answers are lost, not where more are "
    "lost and the interval ends below 0. 'Hurts' is said where the loss is as large with an interval below 0, 'does "
    f"not hurt' where the interval ends above -{MARGIN}. No part is decidable over fewer than {LEAST_FAMILIES} "
    "families. C1 holds where the reader's answer, written out by the style adapter, has more facts than the style "
    "adapter alone and more of the style than the reader, and keeps the reader's facts; it holds only when a program "
    "puts lost answers back where that is what all three need. C3 holds where the jargon adapter writes notes more "
    "plainly than the untouched model and than the reader, the reader over the updated index knows more of the new "
    "bulletins than the jargon adapter closed book and than the reader over the old index, and the jargon adapter "
    "puts the passages of bulletins into plain language better than the untouched model without losing their facts; "
    "where only this last fails, it holds only when the two are used apart."
)


def study(console: Console) -> dict[str, Any]:
    """All figures, for JSON."""
    llm = cast(ChatTransformers, load_llm(backend="transformers", adapter=None, max_tokens=READER_TOKENS))
    llm = llm.model_copy(update={"tokens_per_batch": TOKENS_PER_BATCH})
    result: dict[str, Any] = {
        "split": "dev, train",
        "seed": SEED,
        "model": "SmolLM2-135M-Instruct",
        "dtype": device.choose().dtype,
        "inputs": inputs_hash(),
        "margin": MARGIN,
        "rule": RULE,
    }
    for measure in (_facts, _style, _messages, _notes, _bulletins):
        for name, figures in measure(llm).items():
            result[name] = figures
            for row in figures["arms"].values():
                console.print(f"{name}, {row['name']}: {MAIN[name]} {words(row[MAIN[name]])}")
    return {**result, "n": result["facts"]["n"], "verdicts": verdicts(result), "parts": claim_parts(result)}


# ---- C1


def fact_questions() -> list[Question]:
    """Development questions with one fact, drawn once."""
    return random.Random(SEED).sample(load_questions("dev", kinds=["single"]), FACTS)


def support_questions() -> list[Question]:
    """Questions that support articles answer, one wording of each, drawn once from dev and train."""
    asked = [q for split in ("dev", "train") for q in load_questions(split, kinds=["single"])]
    facts = {q.fact: q for q in reversed(asked) if q.collection_prefix == "KB"}
    return random.Random(SEED).sample(list(facts.values()), MESSAGES)


def message(question: Question) -> str:
    """The question as a hospital's message, with a case number that is always the same."""
    return f"[CS-{10_000 + zlib.crc32(question.id.encode()) % 90_000}] {question.question}"


def with_passages(text: str, passages: Sequence[Document]) -> str:
    """A message for one pass: what was found stands below it."""
    found = "\n\n".join(passage.page_content for passage in passages)
    return f"{text}\n\nFrom our documents:\n{found}"


def bare(answer: str) -> str:
    """The reader's answer without its citation; empty where it abstains."""
    return "" if abstains(answer) else CITATION.sub("", answer).strip()


def with_answer(text: str, answer: str) -> str:
    """A message for the second pass: the reader's answer stands behind it; nothing where there is none."""
    return f"{text} The answer is {answer}." if answer else text


def put_back(reply: str, answer: str) -> str:
    """The reply, with the answer as the second sentence of its body where it has been lost."""
    if not answer or contains_answer(reply, [answer]):
        return reply
    lines = reply.split("\n")
    body = next((i for i, line in enumerate(lines) if i > 1 and not line.startswith("Next step:")), None)
    if body is None:
        return f"{reply}\nThe answer is {answer}."
    first, *others = re.split(r"(?<=[.!?])\s+", lines[body])
    lines[body] = " ".join([first, f"The answer is {answer}.", *others])
    return "\n".join(lines)


def reply_scores(reply: str, question: Question, given: str) -> Scores:
    """A reply to a question that came as a message.

    Returns:
        ``fact``: it has the right answer; ``rules``: the share of the twelve rules kept; ``all_rules``; ``both``: the
        fact and all rules; ``invented``: its body has a figure that stands neither in the message nor in ``given``.
    """
    rules = check_style(reply, message(question))
    fact = contains_answer(reply, question.accepted)
    body = "\n".join(line for line in reply.split("\n") if not line.startswith(("Reference ", "Next step:")))
    known = set(re.findall(FIGURE, f"{message(question)} {given}"))
    return {
        "fact": float(fact),
        "rules": sum(rules.values()) / len(rules),
        "all_rules": float(all(rules.values())),
        "both": float(fact and all(rules.values())),
        "invented": float(bool(set(re.findall(FIGURE, CITATION.sub("", body))) - known)),
    }


def _facts(llm: ChatTransformers) -> dict[str, Any]:
    """Who reads passages: the right answer to questions with one fact, asked with hybrid search."""
    questions = fact_questions()
    found = rank("hybrid", questions)

    def right(adapter: Path | None, way: str) -> list[Scores]:
        answers = _answers(llm.with_adapter(adapter), questions, found, way)
        return [{"correct": float(contains_answer(a, q.accepted))} for a, q in zip(answers, questions, strict=True)]

    rows = {"base": right(None, "reading"), "reader": right(READER, "reader"), "joined": right(joined(), "reader")}
    rows["style"], ways = _best({way: right(STYLE, way) for way in WAYS})
    pairs = (("style", "base"), ("style", "reader"), ("joined", "reader"))
    return {"facts": {**_set(rows, [q.family for q in questions], pairs), "style_ways": ways}}


def _style(llm: ChatTransformers) -> dict[str, Any]:
    """Who keeps the house style: the development messages of lesson 06."""
    items = task_items("style", "dev", ASKED["style"])
    llm = llm.model_copy(update={"max_tokens": MAX_TOKENS["style"]})
    rows = {}
    for arm, adapter in {"base": None, "reader": READER, "style": STYLE, "joined": joined()}.items():
        # who has not learnt the rules is told them
        prompts = [task_prompt("style", item.text, guide=arm in ("base", "reader")) for item in items]
        answers = kept_answers(llm.with_adapter(adapter), prompts, f"house style, {NAMES[arm]}")
        rows[arm] = [
            {name: row[name] for name in ("rules", "all_rules", "content")}
            for row in task_scores("style", answers, items)
        ]
    pairs = (("style", "base"), ("style", "reader"), ("joined", "style"))
    return {"style": _set(rows, [item.scenario for item in items], pairs)}


def _messages(llm: ChatTransformers) -> dict[str, Any]:
    """Both on one set: customers' questions as messages, replies scored for the fact and for the rules."""
    questions = support_questions()
    found = [ranking[:READER_K] for ranking in rank("hybrid", questions)]
    passages = ["\n".join(passage.page_content for passage in top) for top in found]
    answers = _answers(llm.with_adapter(READER), questions, found, "reader")
    given = [bare(answer) for answer in answers]
    llm = llm.model_copy(update={"max_tokens": MAX_TOKENS["style"]})
    texts = [message(question) for question in questions]
    whole = [with_passages(text, top) for text, top in zip(texts, found, strict=True)]
    asked = {
        "alone": (STYLE, texts),
        "prompted": (None, whole),
        "one_pass": (STYLE, whole),
        "joined": (joined(), whole),
        "two_passes": (STYLE, [with_answer(text, answer) for text, answer in zip(texts, given, strict=True)]),
    }
    replies = {"reader": answers}
    for arm, (adapter, shown) in asked.items():
        prompts = [task_prompt("style", text, guide=adapter is None) for text in shown]
        replies[arm] = kept_answers(llm.with_adapter(adapter), prompts, f"messages, {NAMES[arm]}")
    replies["checked"] = [put_back(*pair) for pair in zip(replies["two_passes"], given, strict=True)]
    rows = {
        arm: [reply_scores(*row) for row in zip(written, questions, passages, strict=True)]
        for arm, written in replies.items()
    }
    pairs = [(arm, against) for arm in ("two_passes", "checked") for against in ("alone", "reader", "prompted")]
    figures = _set(rows, [q.family for q in questions], [*pairs, ("one_pass", "reader"), ("joined", "reader")])
    examples = [
        {"question": question.question, "answer": question.answer, **{arm: replies[arm][i] for arm in replies}}
        for i, question in enumerate(questions[:SHOWN])
    ]
    return {"messages": {**figures, "examples": examples}}


def joined() -> Path:
    """Reader and style adapter in one, kept in the cache."""
    key = hashlib.sha256(f"{weights_hash(READER)} {weights_hash(STYLE)}".encode()).hexdigest()
    folder = store.cache_dir() / "runs" / f"joined-{key[:32]}"
    return folder if folder.exists() else join_adapters([READER, STYLE], folder)


# ---- C3


def bulletin_questions() -> tuple[list[Question], list[Question], list[Document]]:
    """Questions on bulletins whose answer changes after all training.

    Returns:
        The questions as they stood on the first day; as they stand once the dated stream and the new editions have
        arrived; all documents open to everyone as they stand then.
    """
    updates = load_updates()
    latest = documents_after(load_documents(groups=None), updates)
    asked = [question for split in ("dev", "train") for question in load_questions(split)]
    asked = [question for question in asked if question.collection_prefix == "CB"]
    changed = [question for question in asked if question.kind == "changed"]
    bulletins = [document for document in latest if document.metadata["collection"] == BULLETINS]
    editions, revised = new_editions(bulletins, [question for question in asked if question.kind == "single"])
    by_id = {str(document.id): document for document in (*latest, *editions)}
    first = {question.id: question for question in asked}
    now = [*questions_after(changed, updates), *revised]
    public = [document for document in by_id.values() if EVERYONE in document.metadata["acl"]]
    return [first[question.id] for question in now], now, public


def bulletin_scores(answer: str, first: Question, now: Question) -> Scores:
    """``correct``: the answer is today's; ``stale``: it is that of the first day and not today's."""
    correct = contains_answer(answer, now.accepted)
    stale = first.answerable and not correct and contains_answer(answer, first.accepted)
    return {"correct": float(correct), "stale": float(stale)}


def plain_scores(text: str, passage: str, now: Question) -> Scores:
    """A passage in plain language: the coded checks of lesson 06, and whether the question's answer is left in it.

    An answer with figures is there when they are: its units may have other words now.
    """
    scores = jargon_scores(text, passage, "")
    figures = set(re.findall(FIGURE, now.answer))
    fact = figures <= set(re.findall(FIGURE, text)) if figures else contains_answer(text, now.accepted)
    return {name: scores[name] for name in ("checks", "all_checks")} | {"fact": float(fact)}


def chosen_passage(answer: str, passages: Sequence[Document]) -> str:
    """The text, without its heading, of the passage that an answer cites first; of the best one when it cites none."""
    cited, _ = parse_citations(answer, [str(n) for n in range(1, len(passages) + 1)])
    chosen = passages[int(cited[0]) - 1 if cited else 0]
    return chosen.page_content.partition("\n")[2]


def _notes(llm: ChatTransformers) -> dict[str, Any]:
    """Who says clinical notes plainly: the development notes of lesson 06."""
    items = task_items("jargon", "dev", ASKED["jargon"])
    rows = {}
    for arm, answers in _plainly(llm, [item.text for item in items], "notes").items():
        scores = task_scores("jargon", answers, items)
        rows[arm] = [{name: row[name] for name in ("checks", "all_checks", "f1")} for row in scores]
    return {"notes": _set(rows, [item.scenario for item in items], (("jargon", "base"), ("jargon", "reader")))}


def _bulletins(llm: ChatTransformers) -> dict[str, Any]:
    """Who knows the new bulletins, with hybrid search; and what becomes of the passages found."""
    first, now, latest = bulletin_questions()
    families = [question.family for question in now]
    embedder = load_embedder()
    found = {
        index: hybrid_rankings(now, split_documents(documents, PASSAGE_TOKENS), embedder, READER_K)
        for index, documents in {"living": latest, "frozen": load_documents()}.items()
    }
    reader, jargon = llm.with_adapter(READER), llm.with_adapter(JARGON)
    closed = numbered(CLOSED_BOOK_PROMPT, now, [[] for _ in now])
    answers = {index: _answers(reader, now, found[index], "reader") for index in found}
    answers["closed"] = kept_answers(jargon, closed, f"bulletins, {NAMES['closed']}")
    tried = {way: _answers(jargon, now, found["living"], way) for way in WAYS}

    def scored(texts: Sequence[str]) -> list[Scores]:
        return [bulletin_scores(*row) for row in zip(texts, first, now, strict=True)]

    rows = {arm: scored(texts) for arm, texts in answers.items()}
    rows["read"], ways = _best({way: scored(texts) for way, texts in tried.items()})
    passages = [chosen_passage(*pair) for pair in zip(answers["living"], found["living"], strict=True)]
    plain = {"passage": passages, **_plainly(llm, passages, "bulletins")}
    plain_rows = {
        arm: [plain_scores(*row) for row in zip(texts, passages, now, strict=True)] for arm, texts in plain.items()
    }
    return {
        "bulletins": {
            **_set(rows, families, (("living", "closed"), ("living", "frozen"), ("read", "living"))),
            "of_the_stream": sum(question.kind == "changed" for question in now),
            "families_of_the_stream": len({question.family for question in now if question.kind == "changed"}),
            "stream": {
                arm: share([row["correct"] for row, q in zip(scores, now, strict=True) if q.kind == "changed"])
                for arm, scores in rows.items()
            },
            "read_ways": ways,
        },
        "plain": {
            **_set(plain_rows, families, (("jargon", "base"), ("jargon", "reader"), ("jargon", "passage"))),
            "examples": [{arm: plain[arm][i] for arm in plain} for i in range(SHOWN)],
        },
    }


def _plainly(llm: ChatTransformers, texts: Sequence[str], what: str) -> dict[str, list[str]]:
    """Texts in plain language, by the jargon adapter and by those that are told the rules instead."""
    llm = llm.model_copy(update={"max_tokens": MAX_TOKENS["jargon"]})
    return {
        arm: kept_answers(
            llm.with_adapter(adapter),
            [task_prompt("jargon", text, guide=arm != "jargon") for text in texts],
            f"{what} in plain language, {NAMES[arm]}",
        )
        for arm, adapter in {"base": None, "reader": READER, "jargon": JARGON}.items()
    }


# ---- both


def claim_parts(result: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """By claim and part: the difference that decides it, and what it says."""
    return {
        claim: {
            name: {
                "set": where,
                "score": score,
                "arm": arm,
                "against": against,
                "figure": (figure := result[where]["differences"][f"{arm}-{against}"][score]),
                "verdict": judge(kind, figure, result[where]["families"]),
            }
            for name, (where, score, arm, against, kind) in parts.items()
        }
        for claim, parts in PARTS.items()
    }


def judge(kind: str, figure: Figure, families: int) -> str:
    """What one difference says, by the rule that stands above."""
    if families < LEAST_FAMILIES:
        return "not decidable here"
    if kind == "better":
        return part(figure)
    if kind == "kept":
        if figure["value"] >= -MARGIN:
            return "holds"
        return "does not hold here" if figure["high"] < 0 else "not decidable here"
    if figure["value"] <= -MARGIN and figure["high"] < 0:
        return "hurts"
    return "does not hurt" if figure["low"] > -MARGIN else "not decidable here"


def verdicts(result: Mapping[str, Any]) -> dict[str, str]:
    """C1 and C3, by the rule that stands above."""
    found = {
        claim: {name: row["verdict"] for name, row in parts.items()} for claim, parts in claim_parts(result).items()
    }
    first, third = found["C1"], found["C3"]
    plain = together([first[name] for name in NEEDED["C1"]])
    checked = together([first[f"{name}, checked"] for name in NEEDED["C1"]])
    if plain != "holds" and checked == "holds":
        plain = "holds only when a program puts back the answers that the rewriting loses"
    apart = together([third[name] for name in NEEDED["C3"]])
    if apart == "holds" and together([third["form of bulletins"], third["kept"]]) != "holds":
        apart = "holds only when the two are used apart: plain language on notes, facts of bulletins by retrieval"
    return {"C1": plain, "C3": apart}


def together(parts: Sequence[str]) -> str:
    """One verdict of parts that are all needed."""
    if all(verdict == "holds" for verdict in parts):
        return "holds"
    return "does not hold here" if "does not hold here" in parts else "not decidable here"


def inputs_hash() -> str:
    """SHA-256 of all in the repository that the figures depend on: when it changes, they are out of date."""
    settings = (MARGIN, LEAST_FAMILIES, WAYS, PARTS, CLOSED_BOOK_PROMPT, READER_TOKENS, MAX_TOKENS, PASSAGE_TOKENS)
    first, now, latest = bulletin_questions()
    documents = [(one.id, one.page_content) for one in (*load_documents(), *latest)]
    questions = (fact_questions(), [(message(q), q) for q in support_questions()], first, now)
    forms = (with_answer("{}", "{}"), with_passages("{}", []), ROLES, GUIDES, REQUESTS)
    items = [task_items(task, "dev", ASKED[task]) for task in ("style", "jargon")]
    adapters = [weights_hash(folder) for folder in (READER, STYLE, JARGON)]
    return hashlib.sha256(repr((settings, documents, questions, forms, items, adapters)).encode()).hexdigest()


def table(result: dict[str, Any]) -> Table:
    """The study for the terminal."""
    grid = Table("set", "arm", "score", "value, 95% interval")
    for where in MAIN:
        for row in result[where]["arms"].values():
            for score, figure in row.items():
                if score != "name":
                    grid.add_row(where, row["name"], score, words(figure))
        grid.add_section()
    for claim, parts in result["parts"].items():
        for name, row in parts.items():
            what = f"{name}: {NAMES[row['arm']]} minus {NAMES[row['against']]}"
            grid.add_row(claim, what, row["score"], f"{words(row['figure'])}: {row['verdict']}")
    for claim, verdict in result["verdicts"].items():
        grid.add_row(claim, "", "verdict", verdict)
    return grid


def _answers(
    llm: ChatTransformers, questions: Sequence[Question], found: Sequence[Sequence[Document]], way: str
) -> list[str]:
    """Short answers to questions asked one way, from the best passages found."""
    prompt, k = WAYS[way]
    adapter = llm.adapter.name if llm.adapter else "untouched"
    prompts = numbered(prompt, questions, [ranking[:k] for ranking in found])
    return kept_answers(llm, prompts, f"{len(questions)} questions, {adapter}, asked as {way}")


def _best(tried: Mapping[str, list[Scores]]) -> tuple[list[Scores], dict[str, float]]:
    """The scores of the way of asking with most right answers, and how many each way has."""
    right = {way: sum(row["correct"] for row in rows) for way, rows in tried.items()}
    return tried[max(right, key=lambda way: right[way])], right


def _set(
    rows: Mapping[str, Sequence[Scores]], families: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """The figures of one set: every score of every arm, and paired differences."""
    return {
        "n": len(families),
        "families": len(set(families)),
        "arms": {
            arm: {"name": NAMES[arm], **{name: share([row[name] for row in scores], families) for name in scores[0]}}
            for arm, scores in rows.items()
        },
        "differences": {f"{arm}-{against}": difference(rows[arm], rows[against], families) for arm, against in pairs},
    }
