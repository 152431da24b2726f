"""The nine arms: how each is asked, what it saw, what it is made of and when it would have to be made anew.

The few-shot arm with retrieval is the rival that any tuning must beat, so it is chosen as carefully as the tuned ones:
``RIVALS`` are the ways that were tried on the development questions, all with citations, and ``RIVAL`` is the one whose
answers were most often correct there (``workshop bench rival``). The prompt of lesson 01 with two worked examples and
three passages, ``citing_three``, is one of them: the untouched model reads one passage far better than three.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from workshop_utils.models.adapters import KNOWLEDGE, RAFT, READER, TASK
from workshop_utils.rag.prompt import Example, Prompt
from workshop_utils.rag.prompts import (
    CITING_PROMPT,
    CLOSED_BOOK_PROMPT,
    EXAMPLES,
    INSTRUCTED_PROMPT,
    READER_K,
    READER_PROMPT,
    READING_K,
    READING_PROMPT,
)
from workshop_utils.tuning.facts import PROMPT as TUNED_CLOSED_BOOK_PROMPT
from workshop_utils.tuning.raft import RECIPE

# the longest answer, in tokens, of every arm
MAX_TOKENS = 40

# moving parts: what somebody must build, run and look after, and what can fail
MODEL = ("language model", "prompt")
EXAMPLES_CHOSEN = ("worked examples",)
RETRIEVAL = (
    "documents read from their source",
    "documents cut into passages",
    "embedding model",
    "vector index",
    "word index",
    "fusion of the two searches",
    "passages put into the prompt",
    "index brought up to date",
)
CITATIONS = ("citations read from the answer",)
TUNING = ("training data", "training run", "adapter kept beside its base model")
READER_TUNING = ("reader's training data", "reader's training run", "reader kept beside its base model")
DISTRACTORS = ("passages for training, found by search", "questions without their passage")
QUESTIONS_WRITTEN = ("questions written on every document",)


@dataclass(frozen=True)
class Arm:
    """One way to answer questions on an organisation's documents.

    Attributes:
        saw: of documents and questions, in training and in the prompt.
        redone_when: what makes the arm out of date.
        steps: its moving parts, by which complexity is counted.
        adapter: folder of its adapter; None for the untouched model.
        starts_from: the adapter that its own was trained on from; its cost counts too.
        training: the name under ``workshop train`` that makes the adapter.
        k: passages that the model is given, found by hybrid search; 0 closed book.
        shots: worked examples taken from the material's training questions, beside those of the prompt.
        cites_first: whether an answer begins with the number of its passage, as ``[2] 17 minutes``.
    """

    key: str
    title: str
    prompt: Prompt
    saw: str
    redone_when: str
    steps: tuple[str, ...]
    adapter: Path | None = None
    starts_from: Path | None = None
    training: str | None = None
    k: int = 0
    shots: int = 0
    cites_first: bool = False

    @property
    def retrieves(self) -> bool:
        """Whether it is given passages."""
        return self.k > 0


@dataclass(frozen=True)
class Rival:
    """A way to ask the untouched model with worked examples, passages and citations."""

    name: str
    prompt: Prompt
    k: int
    shots: int = 0
    cites_first: bool = False


def _one_passage(count: int) -> tuple[Example, ...]:
    """The first worked examples of lesson 01, each citing its one passage."""
    return tuple(replace(example, answer=f"{example.answer} [1]") for example in EXAMPLES[:count])


# training questions as worked examples answer in the form that is agreed, and one of them has no answer
RIVALS = {
    "citing_three": Rival("2 worked examples, 3 passages", CITING_PROMPT, k=3),
    "citing_one": Rival("1 worked example, 1 passage", replace(CITING_PROMPT, examples=_one_passage(1)), k=1),
    "citing_one_of_two": Rival("2 worked examples, 1 passage", replace(CITING_PROMPT, examples=_one_passage(2)), k=1),
    "company_one": Rival("4 training questions, 1 passage", INSTRUCTED_PROMPT, k=1, shots=4, cites_first=True),
    "company_three": Rival("4 training questions, 3 passages", INSTRUCTED_PROMPT, k=3, shots=4, cites_first=True),
    "company_eight": Rival("8 training questions, 1 passage", INSTRUCTED_PROMPT, k=1, shots=8, cites_first=True),
}
RIVAL = "citing_one_of_two"


def _rival(rival: Rival) -> Arm:
    return Arm(
        key="few_shot_rag",
        title="few-shot + RAG",
        prompt=rival.prompt,
        saw="examples of the task, and the documents by retrieval",
        redone_when="the task changes (other examples); a document changes (its passages)",
        steps=(*MODEL, *EXAMPLES_CHOSEN, *RETRIEVAL, *CITATIONS),
        k=rival.k,
        shots=rival.shots,
        cites_first=rival.cites_first,
    )


def arms_of(rival: str = RIVAL) -> dict[str, Arm]:
    """Every arm by its key, with one of ``RIVALS`` as few-shot + RAG."""
    base = Arm(
        key="base",
        title="base",
        prompt=CLOSED_BOOK_PROMPT,
        saw="nothing",
        redone_when="never: it knows nothing that could change",
        steps=MODEL,
    )
    few_shot = replace(
        base,
        key="few_shot",
        title="few-shot",
        prompt=Prompt(instruction=TUNED_CLOSED_BOOK_PROMPT.instruction),
        saw="examples of the task, no facts",
        redone_when="the task changes (other examples)",
        steps=(*MODEL, *EXAMPLES_CHOSEN),
        shots=8,
    )
    rag = Arm(
        key="rag",
        title="RAG",
        prompt=READING_PROMPT,
        saw="the documents, by retrieval",
        redone_when="a document changes (its passages)",
        steps=(*MODEL, *RETRIEVAL),
        k=READING_K,
    )
    reader_rag = Arm(
        key="reader_rag",
        title="reader + RAG",
        prompt=READER_PROMPT,
        saw="passages and questions of other organisations in training, the documents by retrieval",
        redone_when="the base model changes (training); a document changes (its passages)",
        steps=(*MODEL, *RETRIEVAL, *CITATIONS, *READER_TUNING),
        adapter=READER,
        training="reader",
        k=READER_K,
        cites_first=True,
    )
    lora_task = Arm(
        key="lora_task",
        title="LoRA-task",
        prompt=TUNED_CLOSED_BOOK_PROMPT,
        saw="training questions and answers in the documents' style and format, of other documents",
        redone_when="the base model or the form of an answer changes (training)",
        steps=(*MODEL, *TUNING),
        adapter=TASK,
        training="task",
    )
    lora_knowledge = replace(
        lora_task,
        key="lora_knowledge",
        title="LoRA-knowledge",
        saw="the text of all public documents and questions written on them, held-out documents too",
        redone_when="any document or the base model changes (questions and training)",
        steps=(*MODEL, *QUESTIONS_WRITTEN, *TUNING),
        adapter=KNOWLEDGE,
        training="knowledge",
    )
    lora_task_rag = replace(
        reader_rag,
        key="lora_task_rag",
        title="LoRA-task + RAG",
        saw="training questions and answers without passages in training, the documents by retrieval",
        redone_when="the base model or the form of an answer changes (training); a document changes (its passages)",
        steps=(*MODEL, *RETRIEVAL, *CITATIONS, *TUNING),
        adapter=TASK,
        training="task",
    )
    raft_rag = replace(
        reader_rag,
        key="raft_rag",
        title="RAFT + RAG",
        saw="passages of other organisations, then training questions with passages of their documents in training; "
        "the documents by retrieval",
        redone_when="the base model, the search or the form of an answer changes (training); a document changes "
        "(its passages)",
        steps=(*MODEL, *RETRIEVAL, *CITATIONS, *READER_TUNING, *DISTRACTORS, *TUNING),
        adapter=RAFT,
        starts_from=READER,
        training="raft",
        k=RECIPE.passages,
    )
    every = (base, few_shot, rag, _rival(RIVALS[rival]), reader_rag, lora_task, lora_knowledge, lora_task_rag, raft_rag)
    return {arm.key: arm for arm in every}


ARMS = arms_of()
