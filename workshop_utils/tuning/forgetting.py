"""What tuning makes a model forget: general knowledge, ordinary prose, and that not everything is a task.

None of it has to do with the company or the tasks, so an untouched model and a tuned one should do equally well.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import HumanMessage

from workshop_utils.corpus.general import GeneralChoice, Prose, load_general_choices, load_prose
from workshop_utils.models import device, store
from workshop_utils.models.transformers_chat import WEIGHTS, ChatTransformers, continuations

# what any assistant can do, asked as anybody would
CHAT = (
    "Name three fruits.",
    "Write one sentence about the sea.",
    "What is 2 plus 3?",
    "Say good morning in French.",
    "Give me a word that rhymes with cat.",
    "Which two days are the weekend?",
    "What colour is the sky on a clear day?",
    "Write a short greeting to a new neighbour.",
    "Explain in one sentence why we sleep.",
    "Name a city in Italy.",
    "Complete the sentence: The cat sat on the",
    "What is the opposite of hot?",
)
CHAT_TOKENS = 24


@dataclass(frozen=True)
class ForgettingProbe:
    """What one model did on the probes.

    Attributes:
        correct: by general-knowledge question, whether the right choice is the likeliest answer.
        logprob_per_token: natural logarithm, mean over the tokens of each paragraph of prose.
        answers: to the instructions of ``CHAT``.
    """

    correct: tuple[bool, ...]
    logprob_per_token: tuple[float, ...]
    answers: tuple[str, ...]

    @property
    def knowledge(self) -> float:
        """The share of general-knowledge questions answered right; guessing gives a quarter."""
        return sum(self.correct) / len(self.correct)

    @property
    def perplexity(self) -> float:
        """Of the prose, each paragraph with the same weight."""
        return math.exp(-sum(self.logprob_per_token) / len(self.logprob_per_token))

    @property
    def taken_over(self) -> tuple[bool, ...]:
        """By instruction of ``CHAT``: whether the answer begins as a ticket's record does, which nobody asked for."""
        return tuple(answer.lstrip().startswith("{") for answer in self.answers)

    @property
    def takeover(self) -> float:
        """The share of such answers."""
        return sum(self.taken_over) / len(self.answers)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> ForgettingProbe:
        """From the JSON form."""
        return cls(**{name: tuple(values) for name, values in record.items()})


def probe(llm: ChatTransformers) -> ForgettingProbe:
    """All probes: about half a minute."""
    return ForgettingProbe(tuple(general_knowledge(llm)), tuple(prose_logprobs(llm)), tuple(chat_answers(llm)))


def kept_probe(llm: ChatTransformers) -> ForgettingProbe:
    """The same, kept in the cache by weights and probes: a study that was interrupted goes on where it was."""
    adapter = "" if llm.adapter is None else store.sha256(llm.adapter / WEIGHTS)
    model = _weights_hash(Path(llm.engine.model.config.name_or_path))
    asked = (load_general_choices(), load_prose(), CHAT, CHAT_TOKENS)
    key = hashlib.sha256(repr((adapter, model, asked, device.choose())).encode()).hexdigest()
    path = store.cache_dir() / "probes" / f"{key}.json"
    if path.exists():
        return ForgettingProbe.from_dict(json.loads(path.read_text("utf-8")))
    found = probe(llm)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(found.as_dict()), "utf-8")
    temporary.replace(path)
    return found


def general_knowledge(llm: ChatTransformers, choices: Sequence[GeneralChoice] | None = None) -> list[bool]:
    """Whether the right choice is the likeliest to follow the question, by the log-probability of all its tokens.

    Asked as text to be continued, ``Question: ... Answer:``, without chat template: of the forms tried, the untouched
    model knows most in this one (0.73 of the questions; 0.67 in the chat template, 0.70 there with 'Answer in a word
    or two'). The mean over tokens gave the same here, and less in the chat template.

    Args:
        choices: the questions; all of ``load_general_choices`` when None.
    """
    correct = []
    for asked in load_general_choices() if choices is None else choices:
        scores = _choice_scores(llm, asked)
        correct.append(scores.index(max(scores)) == asked.choice)
    return correct


def prose_logprobs(llm: ChatTransformers, prose: Sequence[Prose] | None = None) -> list[float]:
    """How expected each paragraph is: mean natural-log probability of its tokens after the first.

    The text is read as it is, without chat template: as in pretraining, not as a reply.

    Args:
        prose: the paragraphs; all of ``load_prose`` when None.
    """
    import torch

    engine = llm.engine
    means = []
    with engine.lock, torch.inference_mode():
        engine.activate(llm.adapter)
        for paragraph in load_prose() if prose is None else prose:
            tokens = engine.tokenizer.encode(paragraph.text, add_special_tokens=False)
            ids = torch.tensor([tokens], device=engine.model.device)
            scores = engine.model(ids).logits[0, :-1].float().log_softmax(-1)
            means.append(float(scores.gather(1, ids[0, 1:, None]).mean()))
    return means


def chat_answers(llm: ChatTransformers, instructions: Sequence[str] | None = None) -> list[str]:
    """What the model answers to ordinary instructions (None: those of ``CHAT``), in at most ``CHAT_TOKENS`` tokens."""
    instructions = CHAT if instructions is None else instructions
    replies = llm.batch([[HumanMessage(instruction)] for instruction in instructions], max_tokens=CHAT_TOKENS)
    return [str(reply.content).strip() for reply in replies]


def _choice_scores(llm: ChatTransformers, asked: GeneralChoice) -> list[float]:
    """Natural-log probability of each choice after the question, which is read once for all of them."""
    import torch

    engine = llm.engine
    prompt = engine.tokenizer.encode(f"Question: {asked.question}\nAnswer:", add_special_tokens=False)
    answers = [engine.tokenizer.encode(f" {choice}", add_special_tokens=False) for choice in asked.choices]
    with engine.lock, torch.inference_mode():
        engine.activate(llm.adapter)
        return continuations(engine.model, prompt, answers)


def _weights_hash(folder: Path) -> str:
    """SHA-256 of a model's weights; its name where they are not on this machine."""
    files = sorted(folder.glob("*.safetensors"))
    return "".join(map(store.sha256, files)) or str(folder)
