"""The language model on llama.cpp: the fastest answers, one at a time, on a CPU."""

from __future__ import annotations

import http.client
import importlib
import json
import os
import platform
import re
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.utils import convert_to_openai_messages
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from workshop_utils.errors import WorkshopError
from workshop_utils.models import lora_gguf

# what a call may set; llama.cpp itself ignores a misspelt field in silence
OPTIONS = frozenset(
    {"max_tokens", "temperature", "seed", "response_format", "grammar", "ignore_eos", "top_k", "top_p", "min_p"}
)
# Prompt tokens computed together. A whole prompt at once, so that no last piece of a single token is left over:
# llama.cpp rounds one token alone differently from several together (see Engine.events).
BATCH = 2048
# the start of a token such as <|im_end|>, which llama.cpp takes for one wherever it stands
CONTROL_TOKEN = re.compile(r"<(?=\|[^|<>\s]+\|>)")


class LlamaCppError(WorkshopError):
    """llama.cpp is missing, cannot load the model, or refused a request; the message says which."""


class ContextExceededError(LlamaCppError, ValueError):
    """The prompt has more tokens than the model was loaded for."""


class Engine:
    """One GGUF model in memory, with its adapters, shared by the chat models that differ only in adapter or settings.

    It is llama.cpp's own server in this process. That always listens on a loopback port too; only this process
    knows the key which it asks for there.
    """

    def __init__(self, model_path: Path, n_ctx: int) -> None:
        _check_gguf(model_path)
        self.model_path = model_path
        self.n_ctx = n_ctx
        self.adapters: list[Path] = []
        self._key = secrets.token_urlsafe()
        self._loading = threading.Lock()
        self._computing = threading.Lock()
        self._computed: dict[str, Any] | None = None
        self._server = self._open(self.adapters)

    def adapter_index(self, adapter: Path) -> int:
        """The adapter's place in ``adapters``; one not seen before reopens the model (a third of a second)."""
        converted = adapter if adapter.suffix == ".gguf" else lora_gguf.cached(adapter, self.model_path)
        with self._loading:
            if converted not in self.adapters:
                adapters = [*self.adapters, converted]
                # an answer under way keeps the old server alive until it ends
                self._server = self._open(adapters)
                self.adapters = adapters
            return self.adapters.index(converted)

    def events(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Send a streamed chat completion request and yield llama.cpp's chunks; closing the iterator stops it.

        The start of a prompt that it shares with the prompt before (instructions, examples) is not computed again.
        The answer is the same bit for bit, because ``reusable`` leaves out the cases where it would not be.

        The server computes in a thread of its own: only so can Ctrl-C, which Python sees between two steps of its
        main thread, end an answer.
        """
        queue: SimpleQueue[bytes | BaseException | None] = SimpleQueue()
        closed = threading.Event()
        last = b""

        def receive(chunk: bytes) -> bool:
            nonlocal last
            last = chunk
            queue.put(chunk)
            return closed.is_set()

        def compute() -> None:
            try:
                with self._computing:
                    before, self._computed = self._computed, None
                    body = request | {"cache_prompt": before is not None and reusable(before, request)}
                    self._server.handle_chat_completions(json.dumps(body).encode(), receive)
                    if b'"timings":' in last:  # it ran to its end
                        self._computed = request
            except BaseException as error:
                queue.put(error)
            finally:
                queue.put(None)

        worker = threading.Thread(target=compute, name="llama.cpp")
        worker.start()
        try:
            while (item := queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise LlamaCppError(f"llama.cpp refused the request: {item}") from item
                event: dict[str, Any] = json.loads(item)
                if "error" in event:
                    raise _request_error(event["error"])
                yield event
        finally:
            closed.set()
            worker.join()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask one of the server's other routes, which xllamacpp offers on the loopback port only."""
        connection = http.client.HTTPConnection(urlsplit(self._server.listening_address).netloc, timeout=60)
        try:
            headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
            connection.request("POST", path, json.dumps(body), headers)
            answer: dict[str, Any] = json.load(connection.getresponse())
        except OSError as error:
            raise LlamaCppError(f"llama.cpp does not answer on the loopback interface ({error}).") from error
        finally:
            connection.close()
        if "error" in answer:
            raise _request_error(answer["error"])
        return answer

    def _open(self, adapters: list[Path]) -> Any:
        xllamacpp = import_xllamacpp()
        parameters = server_parameters(self.model_path, self.n_ctx)
        parameters.api_keys = [self._key]
        parameters.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(path), 0.0) for path in adapters]
        try:
            return xllamacpp.Server(parameters)
        except RuntimeError as error:
            files = ", ".join(str(path) for path in [self.model_path, *adapters])
            raise LlamaCppError(
                f"llama.cpp could not load {files}: a file is damaged, or of an architecture that this version does "
                "not know, or memory is short. 'workshop doctor' checks the default model."
            ) from error


class ChatLlamaCpp(BaseChatModel):
    """A chat model on llama.cpp, from a GGUF file, in this process: for interactive answers on a CPU.

    Why our own: langchain-core has no llama.cpp model, the one of langchain-community is sunset and needs a compiler
    for llama-cpp-python, and ``ChatOpenAI`` would need a server to be started and watched.

    The prompt is made by the GGUF's own chat template. Greedy unless ``temperature`` is set, without repetition
    penalty. An answer does not depend on what was asked before.

    A call may override, or ``bind`` may fix: ``max_tokens``, ``temperature``, ``seed``, ``top_k``, ``top_p``,
    ``min_p``, ``ignore_eos``, and what constrains the answer: ``grammar`` (GBNF) or
    ``response_format={"type": "json_schema", "json_schema": {"schema": {...}}}``.

    ``batch`` answers several prompts from several threads; llama.cpp takes them one after the other. For hundreds
    of prompts the transformers backend is faster.

    Args:
        model_path: a GGUF file.
        adapter: folder of a PEFT LoRA adapter trained on that model, converted on first use, or one in GGUF form.
        n_ctx: the most tokens that prompt and answer may have together. Each takes 23 kB of memory with SmolLM2-135M.
        max_tokens: the longest answer.
        temperature: 0 takes the likeliest token each time; above it, tokens are sampled with ``seed``.
        seed: of the sampling.

    Raises:
        LlamaCppError: xllamacpp is not installed, or the model is missing or damaged.
        ContextExceededError: (when asked) the prompt is longer than ``n_ctx``.
        workshop_utils.models.transformers_chat.AdapterError: the adapter cannot be used with this model.
        TypeError: (when asked) an option that is not in ``OPTIONS``.
    """

    model_path: Path
    adapter: Path | None = None
    n_ctx: int = 2048
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0

    _engine: Engine = PrivateAttr()

    def __init__(self, model_path: Path | str, **fields: Any) -> None:
        super().__init__(model_path=Path(model_path), **fields)  # type: ignore[call-arg]
        self._engine = Engine(self.model_path, self.n_ctx)
        if self.adapter is not None:
            self._engine.adapter_index(self.adapter)

    def with_adapter(self, adapter: Path | str | None) -> ChatLlamaCpp:
        """The same model with another adapter (or none), sharing the weights in memory.

        llama.cpp applies the adapters at a scale given with each request, so models with different adapters can be
        asked in turn at no cost; only an adapter's first use reopens the model, since it reads adapters at the start.

        Raises:
            workshop_utils.models.transformers_chat.AdapterError: the adapter cannot be used with this model.
        """
        path = None if adapter is None else Path(adapter)
        if path is not None:
            self._engine.adapter_index(path)
        return self.model_copy(update={"adapter": path})

    def encode(self, messages: Sequence[BaseMessage]) -> list[int]:
        """Token ids of a conversation in the model's chat template, ready for the answer to follow."""
        templated = self._engine.post("/apply-template", {"messages": _openai_messages(messages)})
        return self._tokens(templated["prompt"])

    def count_tokens(self, text: str) -> int:
        """Tokens in a text, without the chat template."""
        return len(self._tokens(text))

    @property
    def _llm_type(self) -> str:
        return "llama.cpp"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("model_path", "adapter", "n_ctx", "max_tokens", "temperature", "seed")
        return {name: _plain(getattr(self, name)) for name in names}

    def _tokens(self, text: str) -> list[int]:
        body = {"content": text, "add_special": False, "parse_special": True}
        return list(self._engine.post("/tokenize", body)["tokens"])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for event in self._engine.events(self._request(messages, stop, kwargs)):
            (choice,) = event["choices"]
            text = choice["delta"].get("content") or ""
            if choice["finish_reason"]:
                message = AIMessageChunk(
                    content=text,
                    chunk_position="last",
                    usage_metadata=_usage(event["timings"]),
                    response_metadata={
                        "finish_reason": choice["finish_reason"],
                        "model_name": self.model_path.name,
                        "timings": event["timings"],
                    },
                )
            elif text:
                message = AIMessageChunk(content=text)
            else:
                continue
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(text, chunk=chunk)
            yield chunk

    def _request(self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> dict[str, Any]:
        unknown = options.keys() - OPTIONS
        if unknown:
            raise TypeError(f"Unknown option {', '.join(sorted(unknown))}; there are {', '.join(sorted(OPTIONS))}.")
        request: dict[str, Any] = {
            "messages": _openai_messages(messages),
            "stream": True,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
            "lora": self._lora(),
        }
        if stop:
            request["stop"] = stop
        return request | options

    def _lora(self) -> list[dict[str, Any]]:
        """The scale of each adapter in memory: 1 for this model's own, 0 for the others."""
        own = None if self.adapter is None else self._engine.adapter_index(self.adapter)
        return [{"id": index, "scale": float(index == own)} for index in range(len(self._engine.adapters))]


def reusable(before: dict[str, Any], request: dict[str, Any]) -> bool:
    """Whether the request may start from what is left in memory of the one before, without a change in its answer.

    On x86 llama.cpp (without flash attention) computes a token's keys and values to the same bits in any company of
    two tokens or more, but not alone, as it does while it answers. So the part computed anew must not be one token,
    and the part kept must not reach into an answer: neither conversation may be the beginning of the other.
    """
    if platform.machine().lower() not in ("x86_64", "amd64") or before["lora"] != request["lora"]:
        return False
    common = min(len(before["messages"]), len(request["messages"]))
    return bool(before["messages"][:common] != request["messages"][:common])


def server_parameters(model_path: Path, n_ctx: int) -> Any:
    """``xllamacpp.CommonParams`` for one conversation at a time, small in memory and silent."""
    xllamacpp = import_xllamacpp()
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model_path)
    parameters.n_ctx = n_ctx
    parameters.n_parallel = 1
    parameters.n_batch = parameters.n_ubatch = min(n_ctx, BATCH)
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads()
    parameters.cache_ram_mib = 0
    parameters.fit_params = False
    parameters.prefill_assistant = False
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.lora_init_without_apply = True
    parameters.verbosity = 0
    return parameters


def threads() -> int:
    """Threads to compute with: what affinity and container leave of the machine, or -1 for llama.cpp's own choice.

    Its own choice is the number of physical cores (of the fast ones, where they differ), which sees neither limit.
    """
    logical = os.cpu_count() or 1
    allowed = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical)
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        allowed = min(allowed, float(quota) / float(period))
    if allowed >= logical:
        return -1
    import psutil

    physical = psutil.cpu_count(logical=False) or logical
    return max(1, round(min(allowed, physical)))


def import_xllamacpp() -> Any:
    """The module ``xllamacpp``.

    Raises:
        LlamaCppError: it is not installed, or cannot be loaded.
    """
    # By default the OpenMP threads spin while they wait for each other; as soon as another program needs a core, a
    # token then takes ten times as long. Read when the OpenMP library is loaded, so without effect after torch.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        return importlib.import_module("xllamacpp")
    except ModuleNotFoundError as error:
        raise LlamaCppError(
            "The llama.cpp backend is not installed: run 'python -m pip install xllamacpp', or use the transformers "
            "backend (WORKSHOP_BACKEND=transformers), which gives the same model, more slowly."
        ) from error
    except ImportError:
        pass
    try:
        # a slim system has no OpenMP library; torch brings one along
        importlib.import_module("torch")
        return importlib.import_module("xllamacpp")
    except ImportError as error:
        raise LlamaCppError(
            f"xllamacpp is installed but cannot be loaded ({error}). Use the transformers backend "
            "(WORKSHOP_BACKEND=transformers); a missing libgomp.so.1 is in the system package libgomp1."
        ) from error


def _check_gguf(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise LlamaCppError(f"Cannot read the model {path}: {error.strerror or error}.") from error
    if magic != b"GGUF":
        raise LlamaCppError(
            f"{path} is not a GGUF file. For a model in Hugging Face form use the transformers backend; "
            "'workshop doctor' checks the default model."
        )


def _request_error(error: dict[str, Any]) -> LlamaCppError:
    if error.get("type") == "exceed_context_size_error":
        tokens, context = error["n_prompt_tokens"], error["n_ctx"]
        return ContextExceededError(
            f"The prompt has {tokens:,} tokens, but the model was loaded for {context:,} (prompt and answer together). "
            f"Retrieve fewer or shorter passages, or load it with n_ctx={(tokens // 1024 + 2) * 1024}."
        )
    return LlamaCppError(f"llama.cpp refused the request: {error.get('message', error)}")


def _openai_messages(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    converted = convert_to_openai_messages(list(messages), text_format="string")
    turns = converted if isinstance(converted, list) else [converted]
    # a document that holds <|im_end|> must not end its own turn and speak in another's name
    return [{**turn, "content": CONTROL_TOKEN.sub("< ", turn["content"])} for turn in turns]


def _usage(timings: dict[str, Any]) -> UsageMetadata:
    prompt, answer = timings["cache_n"] + timings["prompt_n"], timings["predicted_n"]
    return UsageMetadata(input_tokens=prompt, output_tokens=answer, total_tokens=prompt + answer)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
