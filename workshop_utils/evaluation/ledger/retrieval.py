"""What the results say of the claims on RAG."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from workshop_utils.evaluation.ledger import rules
from workshop_utils.evaluation.ledger.found import Found, with_interval
from workshop_utils.evaluation.ledger.results import Missing, Results, remedy
from workshop_utils.evaluation.studies.figures import interval
from workshop_utils.evaluation.studies.recipes import COST_MATTERS
from workshop_utils.rag.prompts import READER_K

SAME_WEIGHTS = re.compile(r"the weights are the same as before: (True|False)")
STAGE = re.compile(r"^# ## Stages? (\d)(?: and (\d))?", re.MULTILINE)


def _model_as_it_is(results: Results) -> Found:
    name, text = results.lesson("01")
    passed, _ = results.run_of("01")
    solution = results.project / "solutions" / f"{name}.ipynb"
    if not solution.exists() or not (found := SAME_WEIGHTS.findall(solution.read_text("utf-8"))):
        raise Missing(f"solutions/{name}.ipynb has no output on the weights. Run 'workshop build --execute 01'.")
    stages = len({number for pair in STAGE.findall(text) for number in pair if number})
    same = set(found) == {"True"}
    return Found(
        rules.stays_as_it_is(stages, same, passed),
        f"stages that lesson 01 shows, of {rules.STAGES}",
        "results/lessons.json:lessons",
        stages,
        because=f"weights after all answers the same as before: {same}; outputs compared again: {passed}",
    )


def _no_training(results: Results) -> Found:
    source = "results/freshness.json:stream.0.sync_seconds"
    seconds = results.number(source) + results.number(f"results/reading.json:latency.rows.{READER_K}.total.p50")
    untouched, closed = (results.figure(f"results/prompts.json:{which}.correct") for which in ("best", "closed_book"))
    reader = results.figure("results/reader.json:gain")
    return Found(
        rules.starts_without_training(untouched, closed, seconds),
        "seconds to read, cut and embed all documents and answer once",
        source,
        seconds,
        margin=f"{rules.READY_SECONDS:.0f} seconds, and the intervals of right answers apart",
        because=f"right without any training {interval(untouched)}, closed book {interval(closed)}; the reader, "
        f"trained once and on other organisations, adds {interval(reader)}",
    )


def _up_to_date(results: Results) -> Found:
    file = "results/freshness.json"
    source = f"{file}:deleted.answers"
    median, slowest = (results.number(f"{file}:seconds.all.{which}") for which in ("median", "high"))
    deleted = results.get(f"{file}:deleted.documents")
    rows = results.get(f"{file}:followed").values()
    index, answer = (
        f"{sum(row[what]['count'] for row in rows)} of {sum(row[what]['n'] for row in rows)}"
        for what in ("index", "answer")
    )
    return with_interval(
        results,
        results.verdict("results/freshness.json:verdicts.R+2"),
        "deleted facts that are still told",
        source,
        margin="one deleted passage or fact, or one change that the index misses",
        because=f"from a change to the answer {median:.1f} seconds in the median, {slowest:.1f} at most; the index "
        f"followed {index} changes, the answer {answer}; {deleted} documents were deleted",
    )


def _low_cost(results: Results) -> Found:
    index = results.number("results/freshness.json:stream.0.sync_seconds")
    training = results.number("results/facts.json:arms.both.training.seconds")
    taught = results.get("results/facts.json:n")
    source = f"results/reading.json:latency.rows.{READER_K}"
    seconds = results.number(f"{source}.total.p50")
    times = _times_closed_book(results, READER_K)
    searching = sum(results.number(f"{source}.{stage}.p50") for stage in ("embedding", "search"))
    return Found(
        rules.is_cheap(training / index, times),
        "times as long an answer as closed book takes",
        f"{source}.total.p50",
        times,
        n=results.get("results/reading.json:latency.n"),
        margin=f"{COST_MATTERS} times the seconds",
        because=f"all documents indexed in {index:.0f} seconds, {taught} facts trained in {training:.0f}; embedding "
        f"and search are {searching / seconds:.0%} of an answer's time",
    )


def _transparent(results: Results) -> Found:
    k = _place(results, READER_K)
    listed = results.figure("results/langchain.json:sources.found")
    source = f"results/reading.json:k.{k}.cited"
    precise, named = (results.figure(f"results/langchain.json:citations.{what}") for what in ("precision", "recall"))
    return with_interval(
        results,
        rules.shows_sources(listed, results.figure(source)),
        "citations by the model that are right",
        source,
        margin=f"more than {rules.MOST:.0%}, interval included",
        because=f"the list of sources, made by code, holds the evidence in {interval(listed)}; of its passages do "
        f"{interval(results.figure('results/langchain.json:sources.precision'))}; citations: precision "
        f"{interval(precise)}, recall {interval(named)}",
    )


def _window(results: Results) -> Found:
    k = _place(results, 8)
    source = f"results/reading.json:k.{k}.difference"
    place = results.figure("results/reading.json:position.first_minus_last")
    return with_interval(
        results,
        rules.loses_by_reading_more(results.figure(source)),
        "right answers, eight passages minus three",
        source,
        margin="an interval below 0",
        because=f"gold passage first minus last {interval(place)}",
    )


def _search(results: Results) -> Found:
    source = "results/reading.json:quality.slope"
    hit, miss = (results.figure(f"results/reading.json:quality.correct_given_{which}") for which in ("hit", "miss"))
    return with_interval(
        results,
        rules.follows_search(results.figure(source)),
        "right answers for each question more whose evidence is found",
        source,
        margin="an interval above 0",
        because=f"right where the evidence was given {interval(hit)}, where it was not {interval(miss)}",
    )


def _latency(results: Results) -> Found:
    median, slow = (_times_closed_book(results, READER_K, percentile) for percentile in ("p50", "p95"))
    one = _times_closed_book(results, 1)
    return Found(
        rules.answers_later(median, slow),
        "times as long an answer as closed book takes, median",
        f"results/reading.json:latency.rows.{READER_K}.total.p50",
        median,
        n=results.get("results/reading.json:latency.n"),
        margin=f"{COST_MATTERS} times the seconds",
        because=f"at the 95th percentile {slow:.1f} times; with one passage instead of {READER_K}, {one:.1f} times in "
        "the median",
    )


def _use(results: Results, use: str) -> Found:
    source = f"results/langchain.json:uses.{use}"
    found = results.figure(f"{source}.found")
    return with_interval(
        results,
        results.verdict(f"{source}.verdict"),
        "right answers",
        f"{source}.correct",
        margin="an interval above one half",
        because=f"evidence among the passages given {interval(found)}",
    )


def _archive(results: Results) -> Found:
    without = results.figure("results/freshness.json:versions.unfiltered.hit3")
    leaks = results.figure("results/access.json:leaks.passages")
    return with_interval(
        results,
        results.verdict("results/freshness.json:verdicts.RU3"),
        "answers among the first three, as of the date",
        "results/freshness.json:versions.as_of.hit3",
        margin="an interval above one half",
        because=f"without the date {interval(without)}; restricted passages retrieved {interval(leaks)}; "
        f"{results.get('results/freshness.json:versions.documents')} documents only",
    )


def _changing(results: Results) -> Found:
    return with_interval(
        results,
        results.verdict("results/freshness.json:verdicts.RU4"),
        "right answers after the last update, minus those with an index that stood still",
        "results/freshness.json:difference.correct",
        margin="an interval above 0",
    )


def _times_closed_book(results: Results, k: int, percentile: str = "p50") -> float:
    """How many times as long an answer takes with k passages as closed book."""
    rows = "results/reading.json:latency.rows"
    seconds, closed = (results.number(f"{rows}.{row}.total.{percentile}") for row in (k, "closed book"))
    return seconds / closed


def _place(results: Results, k: int) -> int:
    """Where the study of reading keeps the figures of k passages."""
    for place, row in enumerate(results.get("results/reading.json:k")):
        if row["k"] == k:
            return place
    raise Missing(f"data/results/reading.json has no row for {k} passages. {remedy('reading.json')}")


FINDERS: dict[str, Callable[[Results], Found]] = {
    "R0": _model_as_it_is,
    "R+1": _no_training,
    "R+2": _up_to_date,
    "R+3": _low_cost,
    "R+4": _transparent,
    "R-1": _window,
    "R-2": _search,
    "R-3": _latency,
    "RU1": partial(_use, use="documentation"),
    "RU2": partial(_use, use="support"),
    "RU3": _archive,
    "RU4": _changing,
}
