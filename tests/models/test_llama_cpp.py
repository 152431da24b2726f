"""The chat model on llama.cpp, with the workshop's own GGUF."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from workshop_utils.models import store
from workshop_utils.models.llama_cpp import ChatLlamaCpp, ContextExceededError, Engine, LlamaCppError, reusable, threads

pytest.importorskip("xllamacpp")
on_x86 = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="prefixes are kept on x86 only"
)
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

EXAMPLES: list[BaseMessage] = [
    SystemMessage("Copy the sentence of the text that answers the question."),
    HumanMessage("Text:\nThe library opens at 09:00. Groups need consent.\n\nQuestion: When does it open?"),
    AIMessage("The library opens at 09:00."),
]
PASSAGES = [
    "The CP-3 pump runs 6 hours on battery. It is charged in 3 hours. The battery is replaced every 24 months.",
    "Trips of under 4 hours are made by rail. First class is allowed only for trips that start before 06:30.",
    "| Part | Delivery |\n|---|---|\n| Pole clamp | 6 working days |\n| Door hinge | 9 working days |",
]


def ask(passage: int, question: str) -> list[BaseMessage]:
    return [*EXAMPLES, HumanMessage(f"Text:\n{PASSAGES[passage]}\n\nQuestion: {question}")]


@pytest.fixture(scope="module")
def llm() -> ChatLlamaCpp:
    return ChatLlamaCpp(store.llm_gguf(), max_tokens=24)


def run(code: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=check)


# the answer


def test_streamed_pieces_are_the_answer(llm: ChatLlamaCpp) -> None:
    answer = llm.invoke("Name three colours.")
    pieces = list(llm.stream("Name three colours."))
    assert "".join(str(piece.content) for piece in pieces) == answer.content
    assert len(pieces) > 10
    assert pieces[-1].usage_metadata == answer.usage_metadata


def test_usage_and_timings(llm: ChatLlamaCpp) -> None:
    answer = llm.invoke("Name three colours.", max_tokens=5)
    prompt = len(llm.encode([HumanMessage("Name three colours.")]))
    assert answer.usage_metadata == {"input_tokens": prompt, "output_tokens": 5, "total_tokens": prompt + 5}
    assert answer.response_metadata["finish_reason"] == "length"
    assert answer.response_metadata["timings"]["predicted_per_second"] > 0
    assert llm.invoke("Say hello.", max_tokens=60).response_metadata["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "messages",
    [
        [HumanMessage("hi")],
        [SystemMessage("Be brief."), HumanMessage("Déjà vu: 日本語 🙂\n\n  two spaces")],
        ask(0, "How long?"),
        [HumanMessage("a"), AIMessage("b"), HumanMessage([{"type": "text", "text": "|im_end> in a text"}])],
        [HumanMessage("a"), AIMessage("an answer begun")],
    ],
)
def test_prompt_has_the_tokens_that_transformers_makes(llm: ChatLlamaCpp, messages: list[BaseMessage]) -> None:
    import transformers
    from langchain_core.messages.utils import convert_to_openai_messages

    tokenizer = transformers.AutoTokenizer.from_pretrained(store.llm_dir())
    plain: Any = convert_to_openai_messages(messages, text_format="string")
    encoded: Any = tokenizer.apply_chat_template(plain, add_generation_prompt=True)
    expected = list(encoded["input_ids"])
    assert llm.encode(messages) == expected
    usage = llm.invoke(messages, max_tokens=1).usage_metadata
    assert usage is not None
    assert usage["input_tokens"] == len(expected)
    text = str(messages[-1].text)
    assert llm.count_tokens(text) == len(tokenizer.encode(text, add_special_tokens=False))


def test_answer_is_what_the_model_wrote(llm: ChatLlamaCpp) -> None:
    """llama.cpp parses chat answers for thoughts and tool calls; nothing of ours may get lost in that."""
    messages: list[BaseMessage] = [
        HumanMessage("Write a Python function that adds two numbers, indented by four spaces.")
    ]
    raw = llm._engine._server.handle_completions(
        {"prompt": llm.encode(messages), "max_tokens": 60, "temperature": 0, "cache_prompt": False}
    )
    llm._engine._computed = None  # it does not know what was asked behind its back
    assert llm.invoke(messages, max_tokens=60).content == raw["choices"][0]["text"]


def test_asynchronous(llm: ChatLlamaCpp) -> None:
    async def collect() -> str:
        return "".join([str(piece.content) async for piece in llm.astream("Name three colours.")])

    assert asyncio.run(collect()) == llm.invoke("Name three colours.").content


def test_stop(llm: ChatLlamaCpp) -> None:
    free = str(llm.invoke("Count from 1 to 10, separated by commas.").content)
    assert "4" in free
    answer = llm.invoke("Count from 1 to 10, separated by commas.", stop=["4", "5"])
    assert answer.content == free[: free.index("4")]
    assert answer.response_metadata["finish_reason"] == "stop"


def test_json_schema_constrains_the_answer(llm: ChatLlamaCpp) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}, "count": {"type": "integer"}},
        "required": ["colour", "count"],
        "additionalProperties": False,
    }
    bound = llm.bind(response_format={"type": "json_schema", "json_schema": {"schema": schema}}, max_tokens=60)
    record = json.loads(str(bound.invoke("Tell me a story.").content))
    assert record["colour"] in ("red", "blue")
    assert isinstance(record["count"], int)


def test_grammar_constrains_the_answer(llm: ChatLlamaCpp) -> None:
    assert llm.bind(grammar='root ::= "yes" | "no"').invoke("Tell me a story.").content in ("yes", "no")


def test_sampling_is_repeatable(llm: ChatLlamaCpp) -> None:
    def sample(seed: int) -> str:
        return str(llm.invoke("Tell me a story.", temperature=1.0, seed=seed).content)

    assert sample(1) == sample(1) != sample(2)


def test_batch_answers_as_invoke_does(llm: ChatLlamaCpp) -> None:
    questions = ["Name three colours.", "hi", "What is a pump?", "hi"]
    together = [answer.content for answer in llm.batch([*questions])]
    assert together == [llm.invoke(question).content for question in questions]


# the order of questions


def logprobs(llm: ChatLlamaCpp, messages: list[BaseMessage]) -> tuple[list[tuple[int, float]], int]:
    """Each token of the answer with its log-probability, and how many prompt tokens were not computed again."""
    request = llm._request(messages, None, {}) | {"logprobs": True, "max_tokens": 4}
    tokens, kept = [], -1
    for event in llm._engine.events(request):
        (choice,) = event["choices"]
        tokens += [(token["id"], token["logprob"]) for token in (choice.get("logprobs") or {}).get("content", [])]
        if "timings" in event:
            kept = event["timings"]["cache_n"]
    return tokens, kept


def stop_early(llm: ChatLlamaCpp, messages: list[BaseMessage]) -> None:
    stream = llm.stream(messages)
    next(stream)
    stream.close()  # type: ignore[attr-defined]


def exceed(llm: ChatLlamaCpp, messages: list[BaseMessage]) -> None:
    with pytest.raises(ContextExceededError):
        llm.invoke([*messages, HumanMessage("pump " * 3000)])


@pytest.mark.parametrize("passage", range(len(PASSAGES)))
def test_an_answer_does_not_depend_on_what_was_asked_before(llm: ChatLlamaCpp, passage: int) -> None:
    question = ask(passage, "How long does it take, and who is responsible for that?")
    other = ask((passage + 1) % 3, "Who is called?")
    answer = llm.invoke(question, max_tokens=10)
    histories: dict[str, list[BaseMessage]] = {
        "another question on another passage": other,
        "another question on the same passage": ask(passage, "How long does it take, and when?"),
        "the same question": question,
        "the conversation went on": [*question, answer, HumanMessage("And then?")],
        "a shorter conversation": question[:2],
        "something else": [HumanMessage("hi")],
    }
    assert llm._engine._computed is not None
    llm._engine._computed = None
    expected, kept = logprobs(llm, question)
    assert kept == 0
    assert len(expected) == 4
    for name, before in histories.items():
        llm.invoke(before, max_tokens=3)
        assert logprobs(llm, question)[0] == expected, name
    for interruption in (stop_early, exceed):
        llm.invoke(other, max_tokens=3)
        interruption(llm, question)
        assert logprobs(llm, question)[0] == expected, interruption.__name__
    # and the answers to what went on, or stopped before, are their own
    for before in (question, other, [*question, answer, HumanMessage("Why?")]):
        llm._engine._computed = None
        fresh = logprobs(llm, [*question, answer, HumanMessage("And then?")])
        llm.invoke(before, max_tokens=3)
        assert logprobs(llm, [*question, answer, HumanMessage("And then?")])[0] == fresh[0]


@on_x86
def test_the_examples_are_computed_once(llm: ChatLlamaCpp) -> None:
    llm.invoke(ask(0, "How long?"))
    _, kept = logprobs(llm, ask(1, "Which class?"))
    assert kept > 50
    usage = llm.invoke(ask(2, "When?")).usage_metadata
    assert usage is not None
    assert usage["input_tokens"] == len(llm.encode(ask(2, "When?")))


@on_x86
def test_reusable() -> None:
    def request(*contents: str, scale: float = 0.0) -> dict[str, Any]:
        return {
            "messages": [{"role": "user", "content": text} for text in contents],
            "lora": [{"id": 0, "scale": scale}],
        }

    assert reusable(request("a", "b"), request("a", "c"))
    assert not reusable(request("a", "b"), request("a", "b"))
    assert not reusable(request("a", "b"), request("a", "b", "c"))
    assert not reusable(request("a", "b", "c"), request("a", "b"))
    assert not reusable(request("a", "b"), request("a", "c", scale=1.0))


# threads, interruptions, release


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "llama.cpp"]


def test_closing_a_stream_stops_the_computation(llm: ChatLlamaCpp) -> None:
    stream = llm.stream("Tell me a long story.", max_tokens=1500)
    next(stream)
    next(stream)
    assert workers()
    started = time.monotonic()
    stream.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 5  # one token, not 1500
    assert not workers()
    assert llm.invoke("Name three colours.", max_tokens=3).content


def test_two_streams_at_once_do_not_block_each_other(llm: ChatLlamaCpp) -> None:
    first, second = llm.stream("Name three colours."), llm.stream("What is a pump?")
    texts = ["", ""]
    for place, stream in ((0, first), (1, second), (0, first), (1, second)):
        texts[place] += str(next(stream).content)
    texts[0] += "".join(str(piece.content) for piece in first)
    texts[1] += "".join(str(piece.content) for piece in second)
    assert texts == [llm.invoke("Name three colours.").content, llm.invoke("What is a pump?").content]


@on_posix
def test_ctrl_c_ends_an_answer(llm: ChatLlamaCpp) -> None:
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        llm.invoke("Tell me a long story.", max_tokens=1900, ignore_eos=True)
    timer.join()
    assert not workers()
    assert time.monotonic() - started < 15
    assert llm.invoke("hi", max_tokens=3).content


def test_a_failing_callback_raises_and_stops(llm: ChatLlamaCpp) -> None:
    from langchain_core.callbacks import BaseCallbackHandler

    class Failing(BaseCallbackHandler):
        raise_error = True

        def on_llm_new_token(self, *_: Any, **__: Any) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(llm.stream("Tell me a long story.", {"callbacks": [Failing()]}, max_tokens=1500))
    assert not workers()


def test_a_deleted_model_leaves_nothing_behind() -> None:
    model = ChatLlamaCpp(store.llm_gguf(), n_ctx=256)
    address = urlsplit(model._engine._server.listening_address)
    model.invoke("hi", max_tokens=2)
    threads_with = psutil.Process().num_threads()
    socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=5).close()
    del model
    gc.collect()
    assert psutil.Process().num_threads() < threads_with
    with pytest.raises(OSError, match=r"refused|reset|10061"):
        socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=5)


def test_the_program_ends_in_the_middle_of_an_answer() -> None:
    done = run(
        "from workshop_utils.models import store\n"
        "from workshop_utils.models.llama_cpp import ChatLlamaCpp\n"
        "stream = ChatLlamaCpp(store.llm_gguf()).stream('Tell me a long story.', max_tokens=1500)\n"
        "print(next(stream).content)"
    )
    assert done.stdout.strip()
    assert done.stderr == ""


def test_importing_is_cheap() -> None:
    loaded = run("import sys, workshop_utils.models.llama_cpp; print(*sorted(sys.modules))").stdout.split()
    assert not {"xllamacpp", "torch", "transformers", "gguf"} & set(loaded)


@on_linux
def test_memory_of_the_default_model() -> None:
    measured = run(
        "from pathlib import Path\n"
        "from workshop_utils.models import store\n"
        "from workshop_utils.models.llama_cpp import ChatLlamaCpp\n"
        "import xllamacpp\n"
        "def pss(): return int(Path('/proc/self/smaps_rollup').read_text().split('Pss:')[1].split()[0]) / 1024\n"
        "before = pss()\n"
        "llm = ChatLlamaCpp(store.llm_gguf())\n"
        "llm.invoke('pump ' * 600, max_tokens=2)\n"
        "print(pss() - before)"
    )
    assert float(measured.stdout) < 250  # MB; 98 of them are the weights


# quiet, closed to others, clear when it fails


def test_silent(capfd: pytest.CaptureFixture[str]) -> None:
    model = ChatLlamaCpp(store.llm_gguf(), n_ctx=256)
    model.invoke("hi", max_tokens=2)
    with pytest.raises(ContextExceededError):
        model.invoke("pump " * 300)
    del model
    gc.collect()
    assert tuple(capfd.readouterr()) == ("", "")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/completion", "/tokenize", "/slots"])
def test_the_loopback_port_is_closed_to_other_programs(llm: ChatLlamaCpp, path: str) -> None:
    address = urlsplit(llm._engine._server.listening_address)
    assert address.hostname == "127.0.0.1"
    connection = http.client.HTTPConnection(address.netloc, timeout=10)
    connection.request("POST", path, json.dumps({"messages": [], "prompt": "hi", "content": "hi"}))
    assert connection.getresponse().status == 401
    connection.close()


def test_a_prompt_too_long_is_refused_with_the_numbers(llm: ChatLlamaCpp) -> None:
    tokens = len(llm.encode([HumanMessage("pump " * 3000)]))
    with pytest.raises(ContextExceededError, match=rf"{tokens:,} tokens.*2,048.*n_ctx=4096"):
        llm.invoke("pump " * 3000)
    with pytest.raises(ValueError, match="Retrieve fewer"):
        list(llm.stream("pump " * 3000))


def test_an_unknown_option_is_named(llm: ChatLlamaCpp) -> None:
    with pytest.raises(TypeError, match=r"max_token;.*max_tokens"):
        llm.invoke("hi", max_token=5)


def test_a_refused_request_is_explained(llm: ChatLlamaCpp) -> None:
    with pytest.raises(LlamaCppError, match="grammar"):
        llm.invoke("hi", grammar="root ::= ((")
    with pytest.raises(LlamaCppError, match="-7"):
        llm.invoke("hi", max_tokens=-7)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(LlamaCppError, match=r"none\.gguf"):
        ChatLlamaCpp(tmp_path / "none.gguf")


def test_not_a_gguf(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"PK\x03\x04 a zip file")
    with pytest.raises(LlamaCppError, match="not a GGUF file"):
        ChatLlamaCpp(tmp_path / "model.gguf")


@pytest.mark.parametrize("size", [4, 1_000_000, 50_000_000])
def test_a_truncated_gguf(tmp_path: Path, size: int) -> None:
    with store.llm_gguf().open("rb") as stream:
        (tmp_path / "model.gguf").write_bytes(stream.read(size))
    with pytest.raises(LlamaCppError, match=r"model\.gguf.*damaged"):
        ChatLlamaCpp(tmp_path / "model.gguf")


def test_without_xllamacpp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(LlamaCppError, match="pip install xllamacpp"):
        ChatLlamaCpp(store.llm_gguf())


def test_with_an_xllamacpp_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    monkeypatch.delitem(sys.modules, "xllamacpp")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LlamaCppError, match="libgomp1"):
        ChatLlamaCpp(store.llm_gguf())


# threads


def test_torch_lends_its_openmp_library_to_a_slim_system(tmp_path: Path) -> None:
    (tmp_path / "torch.py").touch()
    (tmp_path / "xllamacpp.py").write_text(
        "import sys\nif 'torch' not in sys.modules: raise ImportError('libgomp.so.1')"
    )
    done = run(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from workshop_utils.models.llama_cpp import import_xllamacpp\n"
        "print(import_xllamacpp().__file__)"
    )
    assert str(tmp_path) in done.stdout


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine of 8 physical cores with two threads each; returns a function that restricts it."""
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 16 if logical else 8)

    def restrict(affinity: int = 16, quota: str = "max 100000") -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
        monkeypatch.setattr(Path, "read_text", lambda _: quota)

    return restrict


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, -1),
        ({"affinity": 4}, 4),
        ({"affinity": 12}, 8),
        ({"quota": "200000 100000"}, 2),
        ({"quota": "50000 100000"}, 1),
        ({"quota": "nonsense"}, -1),
    ],
)
def test_threads(machine: Any, limits: dict[str, Any], expected: int) -> None:
    machine(**limits)
    assert threads() == expected


def test_engine_is_shared_by_models_with_other_settings(llm: ChatLlamaCpp) -> None:
    assert isinstance(llm._engine, Engine)
    assert llm.with_adapter(None)._engine is llm._engine
    assert llm._identifying_params["model_path"].endswith(".gguf")
    assert llm._llm_type == "llama.cpp"
