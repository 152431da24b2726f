"""Settings shared by all tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import tiny

if TYPE_CHECKING:
    from workshop_utils.models.transformers_chat import ChatTransformers


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: run with 'workshop test --full' or 'pytest --slow'"))


@pytest.fixture(scope="session")
def llm() -> ChatTransformers:
    """The workshop's language model on transformers, in float32: the same numbers on every CPU, whatever the batch."""
    from workshop_utils.models import load_llm
    from workshop_utils.models.transformers_chat import ChatTransformers

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKSHOP_DTYPE", "float32")
        patch.setenv("WORKSHOP_DEVICE", "cpu")
        patch.delenv("WORKSHOP_LLM", raising=False)
        chat = load_llm(backend="transformers", adapter=None)
    assert isinstance(chat, ChatTransformers)
    return chat


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Llama of two layers with the real tokenizer: loads in no time, answers nonsense."""
    return tiny.save_llama(tmp_path_factory.mktemp("tiny") / "llama")
