"""What went wrong at an OpenAI-compatible endpoint, in words that help: its own client says 'Connection error.'"""

from __future__ import annotations

from langchain_core.exceptions import (
    ModelAuthenticationError,
    ModelConnectionError,
    ModelError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelTimeoutError,
)


def endpoint_error(error: ModelError, url: str) -> str:
    """The cause and the remedy of an error that ``ChatOpenAI`` raised for the endpoint at ``url``."""
    if isinstance(error, ModelTimeoutError):
        return f"{url} did not answer in time. Ask for fewer tokens, or try again when it is less busy."
    if isinstance(error, ModelConnectionError):
        return (
            f"Nothing answers at {url}. Start the server, or correct the address; if HTTP_PROXY is set, add the host "
            "to NO_PROXY."
        )
    if isinstance(error, ModelAuthenticationError | ModelPermissionDeniedError):
        return f"{url} refuses the key. Set OPENAI_API_KEY to a key of that server, in this shell."
    if isinstance(error, ModelNotFoundError):
        return (
            f"{url} answers, but has no such path or model ({error}). The address usually ends in /v1, and the model "
            f"is named after '#': {url}#model-name."
        )
    return f"{url} refused the request: {error}"
