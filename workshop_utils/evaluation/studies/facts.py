"""Facts put into the weights: told again, paraphrased, never taught, changed since; retrieval on the same questions.

The figures of lesson 07: ``workshop bench facts --json data/results/facts.json``. 60 facts of the company are taught
as questions and answers, in one wording or in two, with or without questions to answer 'I do not know'; and once
their documents are read as plain text. All are asked closed book; the reader with passages stands beside them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from rich.console import Console
from rich.table import Table

from workshop_utils.corpus import Question, data_dir, load_documents, load_questions, split_documents
from workshop_utils.corpus.facts import Fact, load_facts, load_unseen_facts
from workshop_utils.corpus.general import Prose
from workshop_utils.corpus.updates import documents_after, load_updates
from workshop_utils.evaluation.answering import kept_answers, weights_hash
from workshop_utils.evaluation.facts import STANDINGS, judge
from workshop_utils.evaluation.intervals import paired_difference
from workshop_utils.evaluation.metrics import abstains, answer_logprobs, contains_answer
from workshop_utils.evaluation.selective import auroc
from workshop_utils.evaluation.studies.figures import Figure, count, interval, share, words
from workshop_utils.evaluation.studies.prompts import numbered
from workshop_utils.evaluation.studies.runs import kept_run
from workshop_utils.models import device, load_embedder, load_llm
from workshop_utils.models.adapters import FACTS, READER
from workshop_utils.models.transformers_chat import ChatTransformers, check_adapter
from workshop_utils.rag.prompts import PASSAGE_TOKENS, READER_K, READER_PROMPT
from workshop_utils.retrieval.rankings import dense_rankings
from workshop_utils.tuning.facts import (
    FEW,
    MAX_TOKENS,
    PROMPT,
    SETTINGS,
    fact_examples,
    fact_prompt,
    settings_for,
    unknown_examples,
)
from workshop_utils.tuning.forgetting import prose_logprobs
from workshop_utils.tuning.run import REPORT
from workshop_utils.tuning.settings import Settings
from workshop_utils.tuning.supervised import Row, encode_examples, encode_texts

READER_TOKENS = 40
# the documents' own text, as it would be read in continued pre-training
TEXT_TOKENS = 180
TEXT_SETTINGS = Settings(epochs=2.0, batch_size=4)
OTHER_DOCUMENTS = 12

# the smallest differences that matter, set before the run
RECALL_MARGIN = 0.10
PERPLEXITY_MARGIN = 0.05
STALE_MARGIN = 0.5
TOKENS_RATIO = 0.5

POOLS = ("seen", "paraphrase", "unseen", "unanswerable")
ARMS = {
    "base": "untouched",
    "seen": "taught in one wording",
    "both": "taught in two wordings",
    "abstain": "taught in two wordings, and to say 'I do not know'",
    "prose": "trained on the documents' text",
    "rag": f"reader with {READER_K} passages",
}
STAGES = {
    "untouched": "not trained again",
    "changed_only": "trained on the changed facts",
    "all": "trained on all facts anew",
}


@dataclass(frozen=True)
class Asked:
    """One question, and the fact that it asks for; None where the documents hold no answer."""

    question: Question
    fact: Fact | None


Pools = dict[str, list[Asked]]
Answers = dict[str, list[str]]
Run = tuple[Path, dict[str, Any]]


def study(console: Console) -> dict[str, Any]:
    """All figures, for JSON; runs that are already trained are taken from the cache."""
    pools, taught = load_pools(), load_facts()
    llm = load_llm(backend="transformers", adapter=None, max_tokens=MAX_TOKENS)
    assert isinstance(llm, ChatTransformers)
    runs = train_all(llm.engine.tokenizer, taught, console)
    arms: dict[str, dict[str, Any]] = {}
    answers: dict[str, Answers] = {}
    chosen: dict[str, dict[str, list[bool]]] = {}
    for key in ("base", "seen", "both", "abstain", "prose"):
        folder, report = runs.get(key, (None, None))
        model = llm.with_adapter(folder)
        prompts = {pool: [fact_prompt(one.question.question) for one in pools[pool]] for pool in POOLS}
        answers[key] = {pool: kept_answers(model, prompts[pool], f"{key}, {pool}") for pool in POOLS}
        chosen[key] = {pool: _choices(model, prompts[pool], pools[pool]) for pool in POOLS[:3]}
        arms[key] = arm_figures(ARMS[key], pools, answers[key], taught, chosen[key])
        arms[key]["training"] = report and _cost(report)
        arms[key]["prompt_tokens"] = _tokens(model, prompts["paraphrase"])
        arms[key]["confidence"] = confidence(pools, answers[key], _logprobs(model, prompts, answers[key]))
        _say(console, arms[key])
    reader = load_llm(backend="transformers", max_tokens=READER_TOKENS)
    assert isinstance(reader, ChatTransformers)
    first_day = load_documents()
    shown = {pool: _reader_prompts(first_day, [one.question for one in pools[pool]]) for pool in POOLS}
    answers["rag"] = {pool: kept_answers(reader, shown[pool], f"rag, {pool}") for pool in POOLS}
    arms["rag"] = arm_figures(ARMS["rag"], pools, answers["rag"], taught)
    arms["rag"] |= {"training": None, "prompt_tokens": _tokens(reader, shown["paraphrase"])}
    _say(console, arms["rag"])
    result: dict[str, Any] = {
        "n": len(taught),
        "n_unseen": len(pools["unseen"]),
        "n_unanswerable": len(pools["unanswerable"]),
        "n_changed": sum(fact.later is not None for fact in taught),
        "split": "dev",
        "seed": SETTINGS.seed,
        "model": "SmolLM2-135M-Instruct",
        "dtype": device.choose().dtype,
        "inputs": inputs_hash(),
        "arms": arms,
        "differences": differences(pools, answers, chosen),
        "changed": _changed(llm, reader, taught, runs),
        "form": _form(llm, runs["prose"][0]),
    }
    result["verdicts"] = verdicts(result)
    return result


def load_pools() -> Pools:
    """The questions by pool: facts as taught, paraphrased, never taught; and what no document answers."""
    by_id = {question.id: question for question in load_questions("dev")}
    taught, unseen = load_facts(), load_unseen_facts()
    return {
        "seen": [Asked(by_id[fact.id], fact) for fact in taught],
        "paraphrase": [Asked(replace(by_id[fact.id], question=fact.paraphrase), fact) for fact in taught],
        "unseen": [Asked(by_id[fact.id], fact) for fact in unseen],
        "unanswerable": [Asked(question, None) for question in load_questions("dev", kinds=["unanswerable"])],
    }


def train_all(tokenizer: Any, taught: Sequence[Fact], console: Console) -> dict[str, Run]:
    """Every adapter of the study with its report; that of ``both`` is the one that comes with the workshop."""
    changed = [fact for fact in taught if fact.later]
    check_adapter(FACTS)
    twice = fact_examples(taught, "both")

    def run(name: str, rows: Sequence[Row], settings: Settings, start_from: Path | None = None) -> Run:
        console.print(f"training: {name}")
        return kept_run(rows, settings, start_from=start_from)

    def encoded(examples: Any) -> list[Row]:
        return encode_examples(tokenizer, examples)

    return {
        "both": (FACTS, json.loads((FACTS / REPORT).read_text("utf-8"))),
        "seen": run("one wording", encoded(fact_examples(taught, "seen")), settings_for("seen")),
        "abstain": run("I do not know", encoded([*twice, *unknown_examples()]), settings_for("both")),
        "changed_only": run("the changed facts", encoded(fact_examples(changed, "both", updated=True)), FEW, FACTS),
        "all": run("all anew", encoded(fact_examples(taught, "both", updated=True)), settings_for("both")),
        "prose": run("text", text_rows(tokenizer, own_documents()), TEXT_SETTINGS),
    }


def own_documents() -> list[Document]:
    """The documents that hold the facts, taught and not taught."""
    sources = {fact.source for fact in load_facts()}
    return [document for document in load_documents() if document.id in sources]


def other_documents() -> list[Document]:
    """Some of those that share no family with the facts, taken from the training split's."""
    sources = {source for question in load_questions("train", kinds=["single"]) for source in question.sources}
    documents = [document for document in load_documents() if document.id in sources]
    return documents[:: max(1, len(documents) // OTHER_DOCUMENTS)][:OTHER_DOCUMENTS]


def text_rows(tokenizer: Any, documents: Sequence[Document]) -> list[Row]:
    """The documents' text in pieces, of which every token is learnt."""
    return encode_texts(tokenizer, [piece.page_content for piece in split_documents(documents, TEXT_TOKENS)])


def arm_figures(
    name: str, pools: Pools, answers: Answers, taught: Sequence[Fact], chosen: dict[str, list[bool]] | None = None
) -> dict[str, Any]:
    """What an arm said, in figures; ``chosen`` is whether it found the right one of four choices more likely."""
    families = {pool: _families(pools[pool]) for pool in POOLS}
    right = {pool: _right(pools[pool], answers[pool]) for pool in POOLS[:3]}
    silent = {pool: [abstains(text) for text in answers[pool]] for pool in POOLS}
    wrong = [not yes and not quiet for yes, quiet in zip(right["unseen"], silent["unseen"], strict=True)]
    # the right answer to this question may be the answer to another as well, and then it is not wrong
    others = [
        bad and any(contains_answer(text, fact.accepted) for fact in taught)
        for bad, text in zip(wrong, answers["unseen"], strict=True)
    ]
    figures: dict[str, Any] = {
        "name": name,
        "recall": {pool: count(values, families[pool]) for pool, values in right.items()},
        "unseen": {
            "right": count(right["unseen"], families["unseen"]),
            "abstained": count(silent["unseen"], families["unseen"]),
            "wrong": count(wrong, families["unseen"]),
        },
        "unanswerable": {
            "abstained": count(silent["unanswerable"], families["unanswerable"]),
            "wrong": count([not quiet for quiet in silent["unanswerable"]], families["unanswerable"]),
        },
        "needless": count(silent["paraphrase"], families["paraphrase"]),
        "borrowed": count(others, families["unseen"]),
    }
    if chosen:
        figures["choice"] = {pool: count(values, families[pool]) for pool, values in chosen.items()}
    return figures


def confidence(pools: Pools, answers: Answers, logprobs: dict[str, list[float]]) -> dict[str, Any]:
    """How sure the model is of its own answers, right and wrong; where it abstains it claims nothing.

    Args:
        logprobs: by pool, the log-probability per token of each answer.

    Returns:
        The log-probabilities of right and of wrong answers to questions that it was not trained on, their means,
        and ``auc``: how often a right answer is surer than a wrong one (0.5: it does not know that it does not know).
    """
    right: list[tuple[float, str]] = []
    wrong: list[tuple[float, str]] = []
    for pool in ("paraphrase", "unseen", "unanswerable"):
        for one, text, logprob in zip(pools[pool], answers[pool], logprobs[pool], strict=True):
            if not abstains(text):
                is_right = one.fact is not None and contains_answer(text, one.fact.accepted)
                (right if is_right else wrong).append((logprob, one.question.family))

    def mean(rows: list[tuple[float, str]]) -> Figure | None:
        return share([value for value, _ in rows], [family for _, family in rows]) if rows else None

    sure = [value for value, _ in right] + [value for value, _ in wrong]
    return {
        "right": [round(value, 3) for value, _ in right],
        "wrong": [round(value, 3) for value, _ in wrong],
        "right_mean": mean(right),
        "wrong_mean": mean(wrong),
        "auc": auroc(sure, [True] * len(right) + [False] * len(wrong)) if right and wrong else None,
    }


def differences(
    pools: Pools, answers: dict[str, Answers], chosen: dict[str, dict[str, list[bool]]]
) -> dict[str, Figure]:
    """The contrasts that decide, paired over the same questions."""

    def recall(first: str, second: str, pool: str) -> Figure:
        one, other = (_right(pools[pool], answers[arm][pool]) for arm in (first, second))
        return paired_difference(one, other, _families(pools[pool])).as_dict()

    def choice(first: str, second: str, pool: str) -> Figure:
        return paired_difference(chosen[first][pool], chosen[second][pool], _families(pools[pool])).as_dict()

    return {
        "seen_minus_base_seen": recall("seen", "base", "seen"),
        "seen_minus_base_paraphrase": recall("seen", "base", "paraphrase"),
        "both_minus_base_seen": recall("both", "base", "seen"),
        "both_minus_base_paraphrase": recall("both", "base", "paraphrase"),
        "both_minus_base_unseen": recall("both", "base", "unseen"),
        "both_minus_seen_paraphrase": recall("both", "seen", "paraphrase"),
        "rag_minus_both_seen": recall("rag", "both", "seen"),
        "rag_minus_both_paraphrase": recall("rag", "both", "paraphrase"),
        "rag_minus_both_unseen": recall("rag", "both", "unseen"),
        "prose_minus_base_paraphrase": recall("prose", "base", "paraphrase"),
        "prose_minus_base_choice": choice("prose", "base", "paraphrase"),
        "both_minus_base_choice": choice("both", "base", "paraphrase"),
        "abstain_minus_both_paraphrase": recall("abstain", "both", "paraphrase"),
    }


def stage_figures(name: str, facts: Sequence[Fact], answers: Sequence[str]) -> dict[str, Any]:
    """How answers about changed facts stand after the update stream, and how many of the others are still known."""
    pairs = list(zip(facts, answers, strict=True))
    changed = [(judge(text, fact), fact.family) for fact, text in pairs if fact.later]
    others = [(judge(text, fact) == "current", fact.family) for fact, text in pairs if not fact.later]
    families = [family for _, family in changed]
    return {
        "name": name,
        **{standing: count([found == standing for found, _ in changed], families) for standing in STANDINGS},
        "others": count([known for known, _ in others], [family for _, family in others]),
    }


def verdicts(result: dict[str, Any]) -> dict[str, dict[str, str]]:
    """What the figures decide, by rules that were set before the run."""
    return {"F+1": _stores(result), "F+4": _no_limit(result), "F-3": _updates(result)}


def inputs_hash() -> str:
    """SHA-256 of all in the repository that the figures depend on: when it changes, they are out of date."""
    settings = (SETTINGS, FEW, TEXT_SETTINGS, TEXT_TOKENS, PASSAGE_TOKENS, READER_K, READER_PROMPT, READER_TOKENS)
    prompts = (PROMPT, MAX_TOKENS, unknown_examples())
    documents = [(document.id, document.page_content) for document in load_documents()]
    later = [(update.date, [(d.id, d.page_content) for d in update.documents]) for update in load_updates()]
    weights = (weights_hash(FACTS), weights_hash(READER), _stored("freshness")["inputs"])
    inputs = (settings, prompts, load_pools(), documents, later, weights)
    return hashlib.sha256(repr(inputs).encode()).hexdigest()


def table(result: dict[str, Any]) -> Table:
    """The study for the terminal."""
    grid = Table("", "seen", "paraphrase", "unseen", "invented", "of four", "tokens")
    for arm in result["arms"].values():
        recall = [interval(arm["recall"][pool]) for pool in POOLS[:3]]
        chosen = interval(arm["choice"]["paraphrase"]) if "choice" in arm else ""
        invented = interval(arm["unanswerable"]["wrong"])
        grid.add_row(arm["name"], *recall, invented, chosen, f"{arm['prompt_tokens']['value']:.0f}")
    changed = result["changed"]
    for stage in [*changed["stages"].values(), changed["rag"]]:
        standings = ", ".join(f"{standing} {stage[standing]['value']:.2f}" for standing in STANDINGS)
        grid.add_row(f"after the updates: {stage['name']}", standings, *[""] * 4, "")
    for which, row in result["form"]["perplexity"].items():
        grid.add_row(f"perplexity ({which})", *(f"{name} {words(row[name])}" for name in ("base", "prose", "ratio")))
    for claim, row in result["verdicts"].items():
        grid.add_row(claim, row["verdict"], row["because"])
    return grid


def _stores(result: dict[str, Any]) -> dict[str, str]:
    gain, text = (result["differences"][f"{arm}_minus_base_paraphrase"] for arm in ("both", "prose"))
    chosen = result["differences"]["prose_minus_base_choice"]
    form = result["form"]["perplexity"]["other"]["ratio"]
    learnt = gain["low"] > RECALL_MARGIN
    if learnt and (text["low"] > RECALL_MARGIN or chosen["low"] > RECALL_MARGIN):
        verdict = "holds"
    elif learnt:
        verdict = "holds only when"
    elif gain["high"] < RECALL_MARGIN:
        verdict = "does not hold here"
    else:
        verdict = "not decidable here"
    return {
        "verdict": verdict,
        "smallest": f"{RECALL_MARGIN:.2f} in recall of paraphrased questions",
        "because": f"taught as questions {interval(gain)}; read as text {interval(text)}, one of four choices "
        f"{interval(chosen)}, perplexity of other documents times {interval(form)}",
    }


def _no_limit(result: dict[str, Any]) -> dict[str, str]:
    both, rag = (result["arms"][arm]["prompt_tokens"]["value"] for arm in ("both", "rag"))
    behind = result["differences"]["rag_minus_both_paraphrase"]
    if both > TOKENS_RATIO * rag:
        verdict = "does not hold here"
    elif behind["high"] < RECALL_MARGIN:
        verdict = "holds"
    elif behind["low"] > 0:
        verdict = "holds only when"
    else:
        verdict = "not decidable here"
    return {
        "verdict": verdict,
        "smallest": f"half the prompt tokens, and at most {RECALL_MARGIN:.2f} of recall lost",
        "because": f"{both:.0f} prompt tokens instead of {rag:.0f}; retrieval minus closed book {interval(behind)}",
    }


def _updates(result: dict[str, Any]) -> dict[str, str]:
    changed = result["changed"]
    stale, lost = changed["stages"]["untouched"]["stale"], changed["others_lost"]
    if stale["high"] < STALE_MARGIN:
        verdict = "does not hold here"
    elif stale["low"] <= STALE_MARGIN:
        verdict = "not decidable here"
    else:
        # cheap and harmless is an update of the changed facts alone
        harmless = lost["high"] < RECALL_MARGIN and changed["stages"]["changed_only"]["stale"]["high"] < STALE_MARGIN
        verdict = "holds only when" if harmless else "holds"
    return {
        "verdict": verdict,
        "smallest": f"half of the changed facts stale; {RECALL_MARGIN:.2f} of the others lost",
        "because": f"stale {interval(stale)}; of the others lost by training on the changed ones {interval(lost)}",
    }


def _changed(llm: ChatTransformers, reader: ChatTransformers, taught: Sequence[Fact], runs: dict[str, Run]) -> Any:
    """The changed facts after the update stream, asked as they were taught: the wording known best."""
    prompts = [fact_prompt(fact.question) for fact in taught]
    folders = {"untouched": "both", "changed_only": "changed_only", "all": "all"}
    answers = {
        stage: kept_answers(llm.with_adapter(runs[run][0]), prompts, f"updates, {stage}")
        for stage, run in folders.items()
    }
    stages = {
        stage: stage_figures(STAGES[stage], taught, answers[stage]) | _cost(runs[run][1])
        for stage, run in folders.items()
    }
    later = [document for document in documents_after(load_documents(), load_updates()) if _is_public(document)]
    asked = [one.question for one in load_pools()["seen"]]
    found = kept_answers(reader, _reader_prompts(later, asked), "updates, rag")
    rag = stage_figures(ARMS["rag"], taught, found)
    others = [place for place, fact in enumerate(taught) if not fact.later]
    before, after = (
        [judge(answers[stage][place], taught[place]) == "current" for place in others]
        for stage in ("untouched", "changed_only")
    )
    return {
        "n": len(taught) - len(others),
        "stages": stages,
        "others_lost": paired_difference(before, after, [taught[place].family for place in others]).as_dict(),
        "rag": rag | {"seconds": _stored("freshness")["seconds"]["edit"]},
    }


def _form(llm: ChatTransformers, prose: Path) -> dict[str, Any]:
    """Perplexity on the text that was read, and on text of the same company that was not."""
    result: dict[str, Any] = {}
    for which, documents in (("own", own_documents()), ("other", other_documents())):
        pieces = split_documents(documents, TEXT_TOKENS)[::2]
        texts = [Prose(str(piece.id), "", piece.page_content) for piece in pieces]
        families = [piece.metadata["source"] for piece in pieces]
        before, after = (prose_logprobs(llm.with_adapter(adapter), texts) for adapter in (None, prose))
        result[which] = {
            "base": _perplexity(share(before, families)),
            "prose": _perplexity(share(after, families)),
            "ratio": _perplexity(paired_difference(after, before, families).as_dict()),
        }
    return {"perplexity": result}


def _perplexity(logprob: Figure) -> Figure:
    bounds = {"value": "value", "low": "high", "high": "low"}
    return {name: math.exp(-logprob[from_]) for name, from_ in bounds.items()} | {"n": logprob["n"]}


def _choices(llm: ChatTransformers, prompts: Sequence[list[BaseMessage]], asked: Sequence[Asked]) -> list[bool]:
    """Whether the right one of four choices is the most likely per token."""
    right = []
    for prompt, one in zip(prompts, asked, strict=True):
        assert one.fact is not None
        scores = [answer.per_token for answer in answer_logprobs(llm, prompt, one.fact.choices)]
        right.append(scores.index(max(scores)) == one.fact.choice)
    return right


def _logprobs(llm: ChatTransformers, prompts: dict[str, list[list[BaseMessage]]], answers: Answers) -> Any:
    return {
        pool: [
            answer_logprobs(llm, prompt, [text])[0].per_token if text else 0.0
            for prompt, text in zip(prompts[pool], answers[pool], strict=True)
        ]
        for pool in POOLS
    }


def _reader_prompts(documents: Sequence[Document], questions: Sequence[Question]) -> list[list[BaseMessage]]:
    passages = split_documents(documents, PASSAGE_TOKENS)
    return numbered(READER_PROMPT, questions, dense_rankings(questions, passages, load_embedder(), READER_K))


def _right(asked: Sequence[Asked], answers: Sequence[str]) -> list[bool]:
    return [
        one.fact is not None and contains_answer(text, one.fact.accepted)
        for one, text in zip(asked, answers, strict=True)
    ]


def _families(asked: Sequence[Asked]) -> list[str]:
    return [one.question.family for one in asked]


def _tokens(llm: ChatTransformers, prompts: Sequence[Sequence[BaseMessage]]) -> Figure:
    return share([float(len(llm.encode(prompt))) for prompt in prompts])


def _cost(report: dict[str, Any]) -> dict[str, Any]:
    return {
        "seconds": report["seconds"],
        "tokens": report["tokens"],
        "examples": report["examples"],
        "epochs": report["settings"]["epochs"],
    }


def _is_public(document: Document) -> bool:
    return "everyone" in document.metadata["acl"]


def _stored(name: str) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((data_dir() / "results" / f"{name}.json").read_text("utf-8"))
    return stored


def _say(console: Console, arm: dict[str, Any]) -> None:
    recall = ", ".join(f"{pool} {figure['value']:.2f}" for pool, figure in arm["recall"].items())
    console.print(f"{arm['name']}: {recall}")
