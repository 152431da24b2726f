"""What an arm takes: seconds and memory of training, of the index, of an update; and how long one answer takes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from tqdm.auto import tqdm

from workshop_utils.corpus import Question, split_documents
from workshop_utils.evaluation.compare.arms import MAX_TOKENS, Arm
from workshop_utils.evaluation.studies.figures import Figure
from workshop_utils.models import load_llm
from workshop_utils.models.llama_cpp import ChatLlamaCpp
from workshop_utils.models.transformers_chat import WEIGHTS, ChatTransformers
from workshop_utils.rag import Rag
from workshop_utils.rag.prompt import Prompt
from workshop_utils.rag.prompts import PASSAGE_TOKENS
from workshop_utils.retrieval import Bm25Retriever, DenseRetriever, HybridRetriever, build_index
from workshop_utils.retrieval.hybrid import CANDIDATES
from workshop_utils.tuning.run import REPORT

TIMED = 30
# more than any arm's passages have together: none is left out
BUDGET = 100_000


def built_index(documents: Sequence[Document], embedder: Embeddings, folder: Path) -> tuple[HybridRetriever, float]:
    """Hybrid search over the documents, and the seconds from the documents to an index that answers."""
    started = time.perf_counter()
    passages = split_documents(documents, PASSAGE_TOKENS)
    index = build_index(passages, embedder, folder, progress=True)
    retriever = HybridRetriever(
        dense=DenseRetriever(index=index, k=CANDIDATES), lexical=Bm25Retriever(passages=passages, k=CANDIDATES)
    )
    retriever.search(passages[0].page_content)  # BM25 counts words when it is first asked
    return retriever, time.perf_counter() - started


def latencies(
    arms: Mapping[str, Arm], prompts: Mapping[str, Prompt], questions: Sequence[Question], retriever: HybridRetriever
) -> dict[str, Figure]:
    """Seconds from a question to the whole answer, search included, one question after another as a person would ask.

    With the backend that answers one question fastest on this machine.

    Returns:
        By arm ``p50`` and ``p95``, over ``n`` questions.
    """
    llm = load_llm(adapter=None, max_tokens=MAX_TOKENS)
    assert isinstance(llm, ChatLlamaCpp | ChatTransformers)
    result = {}
    for key, arm in arms.items():
        model = llm.with_adapter(arm.adapter)
        found = retriever.model_copy(update={"k": max(arm.k, 1)})
        rag = Rag(found, model, prompts[key], read=arm.k, budget=BUDGET)
        seconds = []
        # the first is asked once more before: what is loaded at the first call is no part of an answer
        for question in tqdm([questions[0], *questions], desc=f"{arm.title}, one by one", unit="question"):
            started = time.perf_counter()
            if arm.retrieves:
                rag.ask(question.question)
            else:
                model.invoke(prompts[key].messages(question.question, []))
            seconds.append(time.perf_counter() - started)
        p50, p95 = np.percentile(seconds[1:], [50, 95])
        result[key] = {"p50": float(p50), "p95": float(p95), "n": len(questions)}
    return result


def cost(arm: Arm, index_seconds: float, update_seconds: float | None) -> dict[str, float]:
    """What an arm takes to make and to keep up to date; what does not apply or is not known is left out.

    Args:
        index_seconds: to build the index.
        update_seconds: from a change at the source to the changed answer, where an index follows. Without one, an arm
            that was trained is trained again.

    Returns:
        ``training_seconds`` and ``training_tokens``, of the adapter that its own starts from too; ``training_peak_mb``,
        the larger of both; ``index_seconds``, ``adapter_mb``, ``update_seconds``.
    """
    result: dict[str, float] = {}
    if arm.adapter is not None:
        reports = [_report(folder) for folder in (arm.starts_from, arm.adapter) if folder is not None]
        result["training_seconds"] = sum(report["seconds"] for report in reports)
        result["training_tokens"] = sum(report["tokens"] for report in reports)
        peaks = [float(report["peak_mb"]) for report in reports if report.get("peak_mb")]
        if len(peaks) == len(reports):
            result["training_peak_mb"] = max(peaks)
        result["adapter_mb"] = (arm.adapter / WEIGHTS).stat().st_size / 1e6
        if not arm.retrieves:
            result["update_seconds"] = _report(arm.adapter)["seconds"]
    if arm.retrieves:
        result["index_seconds"] = index_seconds
        if update_seconds is not None:
            result["update_seconds"] = update_seconds
    return result


def _report(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / REPORT).read_text("utf-8"))
    return report
