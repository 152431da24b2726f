"""An OpenAI-compatible endpoint, for real: llama.cpp's own server on the loopback interface."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.exceptions import ModelError, ModelTimeoutError
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from workshop_utils.models import store
from workshop_utils.models.endpoint import endpoint_error

pytest.importorskip("xllamacpp")
KEY = "a-secret"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a server on a free port, which wants ``KEY``."""
    from workshop_utils.models.llama_cpp import import_xllamacpp, server_parameters

    parameters = server_parameters(store.llm_gguf(), n_ctx=512)
    parameters.api_keys = [KEY]
    parameters.cache_prompt = False
    server = import_xllamacpp().Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def chat(url: str, key: str = KEY, **options: Any) -> ChatOpenAI:
    settings: dict[str, Any] = {
        "base_url": url,
        "api_key": SecretStr(key),
        "model": "default",
        "temperature": 0.0,
        "max_completion_tokens": 16,
        "stream_usage": True,
        "max_retries": 0,
    }
    return ChatOpenAI(**settings | options)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_answer_and_usage(url: str) -> None:
    answer = chat(url).invoke("Name three colours.")
    assert len(str(answer.content)) > 10
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 16


def test_streamed(url: str) -> None:
    pieces = list(chat(url).stream("Name three colours."))
    assert len([piece for piece in pieces if piece.content]) > 8
    assert "".join(str(piece.content) for piece in pieces) == chat(url).invoke("Name three colours.").content
    usage = [piece.usage_metadata for piece in pieces if piece.usage_metadata]
    assert [one["output_tokens"] for one in usage] == [16]


def test_batched(url: str) -> None:
    questions = ["Name three colours.", "hi", "What is a pump?"]
    together = [answer.content for answer in chat(url).batch([*questions])]
    assert together == [chat(url).invoke(question).content for question in questions]


def test_same_answer_as_in_this_process(url: str) -> None:
    from workshop_utils.models.llama_cpp import ChatLlamaCpp

    ours = ChatLlamaCpp(store.llm_gguf(), n_ctx=512, max_tokens=16).invoke("Name three colours.")
    assert chat(url).invoke("Name three colours.").content == ours.content


def test_llama_cpp_serves_its_one_model_under_any_name(url: str) -> None:
    assert chat(url, model="no-such-model").invoke("hi").content


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("nothing listens", r"Nothing answers at http://127\.0\.0\.1:\d+/v1.*NO_PROXY"),
        ("no such host", "Nothing answers at http://nowhere.invalid/v1"),
        ("wrong key", "refuses the key.*OPENAI_API_KEY"),
        ("wrong path", "no such path or model.*/v1.*#model-name"),
        ("prompt too long", r"refused the request.*3032 tokens.*512"),
    ],
)
def test_errors(url: str, case: str, words: str) -> None:
    address = {
        "nothing listens": f"http://127.0.0.1:{free_port()}/v1",
        "no such host": "http://nowhere.invalid/v1",
        "wrong path": url.replace("/v1", "/api"),
    }.get(case, url)
    model = chat(address, key="none" if case == "wrong key" else KEY)
    question = "pump " * 3000 if case == "prompt too long" else "hi"
    for ask in (lambda: model.invoke(question), lambda: list(model.stream(question))):
        with pytest.raises(ModelError) as raised:
            ask()
        message = endpoint_error(raised.value, address)
        assert re.search(words, message), message


def test_timeout() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        with pytest.raises(ModelTimeoutError) as raised:
            chat(url, timeout=0.5).invoke("hi")
    assert "did not answer in time" in endpoint_error(raised.value, url)
