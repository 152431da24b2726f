"""The language model on PyTorch: batches, adapters, log-probabilities."""

from __future__ import annotations

import copy
import json
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_messages
from langchain_core.messages.utils import convert_to_openai_messages
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from pydantic import ConfigDict, Field

from workshop_utils.errors import WorkshopError
from workshop_utils.models import device
from workshop_utils.models.device import Device

WEIGHTS = "adapter_model.safetensors"
# tokens from which a common beginning is worth keeping apart
LEAST_SHARED = 32


class AdapterError(WorkshopError):
    """The adapter is damaged, unsafe, or made for another base model; the message says which."""


class ContextExceededError(WorkshopError, ValueError):
    """The prompt and the longest answer have more tokens than the model reads."""


@dataclass
class Engine:
    """Weights, tokenizer and lock, shared by all chat models that differ only in their adapter.

    ``model`` is a ``transformers.PreTrainedModel`` and ``tokenizer`` a ``PreTrainedTokenizerBase``; they are typed
    loosely because importing transformers takes seconds and this module must not.
    """

    model: Any
    tokenizer: Any
    lock: threading.RLock = field(default_factory=threading.RLock)
    adapters: dict[tuple[Path, int], str] = field(default_factory=dict)

    @classmethod
    def load(cls, name_or_folder: str, device: Device, *, local: bool) -> Engine:
        """Read weights and tokenizer, from a folder or (``local=False``) from the hub; safetensors only."""
        import transformers

        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        options: dict[str, Any] = {"local_files_only": local, "trust_remote_code": False}
        tokenizer = transformers.AutoTokenizer.from_pretrained(name_or_folder, **options)
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            name_or_folder, dtype=device.torch_dtype, use_safetensors=True, **options
        )
        return cls(model.to(device.name).eval(), tokenizer)

    @contextmanager
    def using(self, adapter: Path | None) -> Iterator[None]:
        """The model for ourselves, with this adapter or none, and without gradients.

        Raises:
            AdapterError: the adapter cannot be used with this model.
        """
        import torch

        with self.lock:
            # an adapter that is loaded in inference mode could not be trained or joined by another
            self.activate(adapter)
            with torch.inference_mode():
                yield

    def activate(self, adapter: Path | None) -> None:
        """Make the next forward pass use this adapter, or none.

        Raises:
            AdapterError: the adapter cannot be used with this model.
        """
        if adapter is None and not self.adapters:
            return
        from peft.tuners.tuners_utils import BaseTunerLayer

        name = None if adapter is None else self._loaded(adapter)
        for layer in self.model.modules():
            if isinstance(layer, BaseTunerLayer):
                if name is not None:
                    layer.set_adapter(name, inference_mode=True)
                layer.enable_adapters(name is not None)

    def _loaded(self, folder: Path) -> str:
        """The name under which PEFT knows the adapter; one trained again into the same folder is loaded again."""
        check_adapter(folder)
        key = (folder.resolve(), (folder / WEIGHTS).stat().st_mtime_ns)
        if key not in self.adapters:
            name = f"adapter{len(self.adapters)}"
            self._load_adapter(folder, name)
            self.adapters[key] = name
        return self.adapters[key]

    def _load_adapter(self, folder: Path, name: str) -> None:
        """Put the adapter beside the weights, in their precision.

        Why not transformers' own ``load_adapter``: it refuses ``local_files_only``, leaves half an adapter behind when
        the weights do not fit, fills in weights that are missing, and reports the other adapters' as missing.
        """
        import peft
        from peft.functional import delete_adapter
        from safetensors.torch import load_file

        given = {key.removeprefix("base_model.model."): value for key, value in load_file(folder / WEIGHTS).items()}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="peft")  # adapters side by side are meant
            try:
                config = peft.LoraConfig.from_pretrained(str(folder))
                peft.inject_adapter_in_model(config, self.model, name)
                expected = peft.get_peft_model_state_dict(self.model, adapter_name=name, save_embedding_layers=False)
                fault = misfit(given, expected)
                if fault is None:
                    peft.set_peft_model_state_dict(self.model, given, adapter_name=name)
            except (RuntimeError, ValueError, TypeError) as error:
                fault = str(error).splitlines()[0]
            if fault is not None and name in getattr(self.model, "peft_config", ()):
                delete_adapter(self.model, name, prefix="lora_")
                del self.model.peft_config[name]
        if fault is not None:
            raise AdapterError(
                f"The adapter in {folder} was not trained on this model ({self.model.config.model_type}, "
                f"{self.model.config.num_hidden_layers} layers, {self.model.config.hidden_size} wide): {fault}."
            )


def misfit(given: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
    """The first difference between the tensors of an adapter's file and those that its place in the model needs."""
    for key in sorted(given.keys() | expected.keys()):
        if key not in expected:
            return f"the model has no place for {key}"
        if key not in given:
            return f"it lacks {key}"
        if given[key].shape != expected[key].shape:
            return f"{key} is {tuple(given[key].shape)} and should be {tuple(expected[key].shape)}"
    return None


def check_adapter(folder: Path) -> dict[str, Any]:
    """The configuration of a PEFT LoRA adapter folder, after checking that its files are there and readable.

    Raises:
        AdapterError: no such folder, not a LoRA adapter, pickled weights, or damaged weights.
    """
    from safetensors import SafetensorError, safe_open

    weights = folder / WEIGHTS
    try:
        config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    except FileNotFoundError:
        raise AdapterError(f"{folder} is not an adapter: it has no adapter_config.json.") from None
    except ValueError as error:
        raise AdapterError(f"{folder / 'adapter_config.json'} is not valid JSON: {error}.") from error
    if config.get("peft_type") != "LORA":
        raise AdapterError(f"{folder} holds a {config.get('peft_type')} adapter; only LoRA is supported.")
    if config.get("modules_to_save") or config.get("bias", "none") != "none":
        raise AdapterError(f"{folder} also changes biases or whole modules, which could not be switched off again.")
    if not weights.is_file():
        raise AdapterError(f"{folder} has no {WEIGHTS}; pickled weights (.bin) are never loaded.")
    try:
        with safe_open(weights, framework="numpy") as tensors:
            if not tensors.keys():
                raise AdapterError(f"{weights} is empty.")
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{weights} is damaged ({error}). Copy or train the adapter again.") from error
    return config


def encode(tokenizer: Any, messages: Sequence[BaseMessage]) -> list[int]:
    """Token ids of a conversation in the tokenizer's chat template, ready for the answer to follow."""
    turns = convert_to_openai_messages(list(messages))
    for turn in turns:
        for token in tokenizer.all_special_tokens:
            # a document that holds <|im_end|> must not end its own turn and speak in another's name
            turn["content"] = turn["content"].replace(token, f"{token[0]} {token[1:]}")
    encoded = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)
    return list(encoded["input_ids"])


class ChatTransformers(BaseChatModel):
    """A chat model on transformers, for batches, adapters, log-probabilities and GPUs.

    Why not ``ChatHuggingFace`` over ``HuggingFacePipeline`` from langchain-huggingface: with the versions pinned
    here it answers and streams, but ``batch`` runs one prompt at a time (8 prompts took 6.7 times as long as one
    padded ``generate``), it refuses asynchronous calls, reports no token usage and cannot switch adapters.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    engine: Engine = Field(exclude=True, repr=False)
    adapter: Path | None = None
    max_tokens: int = 128
    temperature: float = 0.0
    seed: int = 0
    # more at once are faster and take more memory: a lesson must fit into a small machine
    tokens_per_batch: int = 512
    # whether ``batch`` computes what all prompts begin with (instructions, worked examples) once. The answers are the
    # same but for rounding, which in bfloat16 can turn a close decision, so measurements say which way they went
    share_prefix: bool = False

    @property
    def _llm_type(self) -> str:
        return "transformers"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {
            "model": self.engine.model.config.name_or_path,
            "adapter": str(self.adapter),
            "max_tokens": self.max_tokens,
        }

    def with_adapter(self, adapter: Path | str | None) -> ChatTransformers:
        """The same model with another adapter (or none), sharing the weights in memory.

        Raises:
            AdapterError: the adapter cannot be used with this model.
        """
        path = None if adapter is None else Path(adapter)
        with self.engine.lock:
            self.engine.activate(path)
        return self.model_copy(update={"adapter": path})

    def encode(self, messages: Sequence[BaseMessage]) -> list[int]:
        """Token ids of a conversation in the model's chat template, ready for the answer to follow."""
        return encode(self.engine.tokenizer, messages)

    def count_tokens(self, text: str) -> int:
        """Tokens in a text, without the chat template."""
        return len(self.engine.tokenizer.encode(text, add_special_tokens=False))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> ChatResult:
        (message,) = self._answer_together([self.encode(messages)], stop, **kwargs)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        from transformers import StoppingCriteriaList, TextIteratorStreamer

        prompt = self.encode(messages)
        self._check_length([prompt], self._limit(**kwargs))
        streamer = TextIteratorStreamer(self.engine.tokenizer, skip_prompt=True, skip_special_tokens=True)
        cancelled = threading.Event()
        result: list[AIMessage | BaseException] = []

        def work() -> None:
            try:
                criteria = StoppingCriteriaList([lambda *_: cancelled.is_set()])
                result.extend(
                    self._answer_together([prompt], stop, streamer=streamer, stopping_criteria=criteria, **kwargs)
                )
            except BaseException as error:
                result.append(error)
                streamer.end()  # type: ignore[no-untyped-call]

        worker = threading.Thread(target=work, name="transformers", daemon=True)
        worker.start()
        try:
            for text in cut_at_stop(streamer, stop or ()):
                chunk = ChatGenerationChunk(message=AIMessageChunk(content=text))
                if run_manager:
                    run_manager.on_llm_new_token(text, chunk=chunk)
                yield chunk
        finally:
            cancelled.set()
            worker.join()
        (end,) = result
        if isinstance(end, BaseException):
            raise end
        # without a last chunk an empty answer would be no answer
        yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=end.usage_metadata))

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """Answer many prompts, those of like length together in one padded batch, in the order given."""
        if return_exceptions or len(inputs) < 2:
            return super().batch(inputs, config, return_exceptions=return_exceptions, **kwargs)
        stop = kwargs.pop("stop", None)
        prompts = [self.encode(self._convert_input(value).to_messages()) for value in inputs]
        answers: list[AIMessage | None] = [None] * len(prompts)
        begun = self._begin(prompts, self._limit(**kwargs)) if self.share_prefix else None
        for group in group_by_length([len(prompt) for prompt in prompts], self.tokens_per_batch, self._limit(**kwargs)):
            own = [prompts[i] for i in group]
            for index, message in zip(group, self._answer_together(own, stop, begun, **kwargs), strict=True):
                answers[index] = message
        device.give_back_memory()
        return [message for message in answers if message is not None]

    def logprobs(self, messages: Sequence[BaseMessage], answers: Sequence[str]) -> list[float]:
        """Natural-log probability of each answer (summed over its tokens) as the reply to the conversation."""
        (result,) = self.batch_logprobs([messages], [answers])
        return result

    def batch_logprobs(
        self, conversations: Sequence[Sequence[BaseMessage]], answers: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """The same for many conversations, each with answers of its own: what all begin with is computed once.

        Raises:
            ContextExceededError: a conversation with its longest answer is too long.
            ValueError: not as many conversations as lists of answers.
        """
        prompts = [self.encode(convert_to_messages(list(messages))) for messages in conversations]
        tokenizer = self.engine.tokenizer
        replies = [[tokenizer.encode(text, add_special_tokens=False) for text in texts] for texts in answers]
        for prompt, own in zip(prompts, replies, strict=True):
            self._check_length([prompt], max(map(len, own), default=0))
        begun = self._begin(prompts, 0) if len(prompts) > 1 else None
        start = 0 if begun is None else begun.tokens
        result = []
        with self.engine.using(self.adapter):
            for prompt, own in zip(prompts, replies, strict=True):
                cache = None if begun is None else begun.copies(1)
                result.append(continuations(self.engine.model, prompt[start:], own, cache))
        return result

    def _limit(self, **kwargs: Any) -> int:
        return int(kwargs.get("max_tokens") or self.max_tokens)

    def _check_length(self, prompts: list[list[int]], room: int) -> None:
        longest = max(map(len, prompts))
        context = self.engine.model.config.max_position_embeddings
        if longest + room > context:
            raise ContextExceededError(
                f"The prompt has {longest:,} tokens and the answer may have {room:,}, but the model reads "
                f"{context:,} at most. Ask a shorter question, retrieve fewer or shorter passages, or lower max_tokens."
            )

    def _begin(self, prompts: list[list[int]], room: int) -> Beginning | None:
        """What all the prompts begin with, computed; None where that is too short to pay."""
        import torch

        self._check_length(prompts, room)
        shared = common_prefix(prompts)
        if shared < LEAST_SHARED:
            return None
        with self.engine.using(self.adapter):
            ids = torch.tensor([prompts[0][:shared]], device=self.engine.model.device)
            return Beginning(shared, self.engine.model(ids, use_cache=True, logits_to_keep=1).past_key_values)

    def _run(self, prompts: list[list[int]], stop: list[str] | None, begun: Beginning | None, **kwargs: Any) -> Any:
        """Generate for one padded batch; returns token ids, shape (batch, padded prompt + answer)."""
        import torch

        max_tokens = self._limit(**kwargs)
        self._check_length(prompts, max_tokens)
        temperature = kwargs.pop("temperature", self.temperature)
        kwargs.pop("max_tokens", None)
        tokenizer, model = self.engine.tokenizer, self.engine.model
        start = 0 if begun is None else begun.tokens
        inputs = tokenizer.pad({"input_ids": [prompt[start:] for prompt in prompts]}, return_tensors="pt")
        if begun is not None:
            # the padding stands between what is shared and each prompt's own tokens
            shared = torch.tensor([prompts[0][:start]]).expand(len(prompts), -1)
            inputs["input_ids"] = torch.cat([shared, inputs["input_ids"]], dim=1)
            inputs["attention_mask"] = torch.cat([torch.ones_like(shared), inputs["attention_mask"]], dim=1)
        sampling = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
        if stop:
            kwargs |= {"stop_strings": stop, "tokenizer": tokenizer}
        with self.engine.using(self.adapter):
            if begun is not None:
                kwargs["past_key_values"] = begun.copies(len(prompts))
            if temperature:
                torch.manual_seed(self.seed)
            return model.generate(**inputs.to(model.device), max_new_tokens=max_tokens, **sampling, **kwargs)

    def _answer_together(
        self, prompts: list[list[int]], stop: list[str] | None, begun: Beginning | None = None, **kwargs: Any
    ) -> list[AIMessage]:
        output = self._run(prompts, stop, begun, **kwargs)
        start = max(map(len, prompts))
        ends = {self.engine.tokenizer.eos_token_id, self.engine.tokenizer.pad_token_id}
        messages = []
        for prompt, row in zip(prompts, output[:, start:].tolist(), strict=True):
            tokens = list(takewhile(lambda token: token not in ends, row))
            text = self.engine.tokenizer.decode(tokens, skip_special_tokens=True)
            text = "".join(cut_at_stop([text], stop or ()))
            usage = {
                "input_tokens": len(prompt),
                "output_tokens": len(tokens),
                "total_tokens": len(prompt) + len(tokens),
            }
            messages.append(AIMessage(content=text, usage_metadata=usage))
        return messages


@dataclass(frozen=True)
class Beginning:
    """What prompts have in common: how many tokens, and the keys and values that the model computed for them."""

    tokens: int
    cache: Any

    def copies(self, n: int) -> Any:
        """The keys and values for ``n`` prompts, to be continued; these here stay as they are."""
        cache = copy.deepcopy(self.cache)
        cache.batch_repeat_interleave(n)
        return cache


def common_prefix(rows: Sequence[list[int]]) -> int:
    """How many items all rows begin with, at least the last one of each row left over."""
    # what the first and the last in order have in common, all between them have too
    first, last = min(rows), max(rows)
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return min(sum(1 for _ in same), min(map(len, rows)) - 1)


def continuations(model: Any, prompt: list[int], answers: Sequence[list[int]], cache: Any = None) -> list[float]:
    """Natural-log probability of each answer after the prompt, which is read once for all of them.

    To be called within ``Engine.using``.

    Args:
        model: a ``transformers.PreTrainedModel``.
        prompt: token ids, at least one.
        answers: token ids of each.
        cache: keys and values of what stands before the prompt; they are used up.
    """
    import torch

    place = model.device
    if len(answers) == 1:
        ids = torch.tensor([prompt + answers[0]], device=place)
        logits = model(ids, past_key_values=cache, logits_to_keep=len(answers[0]) + 1).logits[:, :-1].float()
        return [float(logits.log_softmax(-1).gather(2, ids[:, len(prompt) :, None]).sum())]
    longest = max(map(len, answers), default=0)
    if longest == 0:
        return [0.0] * len(answers)
    # padded on the right: what follows an answer is not seen by it
    ids = torch.tensor([answer + [0] * (longest - len(answer)) for answer in answers], device=place)
    read = model(torch.tensor([prompt], device=place), past_key_values=cache, use_cache=True, logits_to_keep=1)
    first = read.logits[:, -1:].float().log_softmax(-1).expand(len(answers), -1, -1)
    cache = read.past_key_values
    cache.batch_repeat_interleave(len(answers))
    rest = model(ids, past_key_values=cache).logits[:, :-1].float().log_softmax(-1)
    scores = torch.cat([first, rest], dim=1).gather(2, ids[:, :, None])[..., 0]
    return [float(row[: len(answer)].sum()) for row, answer in zip(scores, answers, strict=True)]


def group_by_length(lengths: Sequence[int], budget: int, extra: int = 0) -> list[list[int]]:
    """Indices grouped so that items of like length share a batch of at most ``budget`` padded tokens.

    Args:
        lengths: tokens of each item.
        budget: the most tokens a batch may hold after padding (a single longer item still gets a batch).
        extra: tokens that each item may grow by.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        # sorted longest first: the first of a group sets its padded width
        if groups and (len(groups[-1]) + 1) * (lengths[groups[-1][0]] + extra) <= budget:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def cut_at_stop(pieces: Iterable[str], stop: Sequence[str]) -> Iterator[str]:
    """The pieces of a text up to the first stop string; what may be the start of one is held back until it is clear."""
    held = ""
    for piece in pieces:
        held += piece
        found = [at for mark in stop if (at := held.find(mark)) >= 0]
        if found:
            held = held[: min(found)]
            break
        kept = max((n for mark in stop for n in range(1, len(mark)) if held.endswith(mark[:n])), default=0)
        if len(held) > kept:
            yield held[: len(held) - kept]
            held = held[len(held) - kept :]
    if held:
        yield held
