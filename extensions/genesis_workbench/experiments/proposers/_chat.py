"""One question to a language model behind a chat endpoint in the shape of OpenAI's, with limits on everything that comes back.

Source: OpenAI API reference, "Create chat completion"; what vLLM, llama.cpp, Ollama and sites' inference gateways speak too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from genesis_workbench.core.errors import DeadlineExceeded, InvalidInput, Unavailable
from genesis_workbench.core.identifiers import digest_json
from genesis_workbench.core.secret import read_private
from genesis_workbench.core.site import AgentSection

_MOST_BYTES = 2**20
Message = dict[str, str]


@dataclass(frozen=True)
class Reply:
    """What came back: the text, the name of the model that wrote it, and tokens of prompt and reply."""

    text: str
    model: str
    tokens: tuple[int, int]


def prompt_hash(messages: Sequence[Message]) -> str:
    """Return the digest under which a prompt is known in the ledger."""
    return digest_json(list(messages))


def size(messages: Sequence[Message]) -> int:
    """Return the most tokens that a prompt can have: none is shorter than a byte."""
    return sum(len(each["content"].encode()) + 16 for each in messages)


def ask(section: AgentSection, messages: Sequence[Message], seed: int) -> Reply:
    """Ask once.

    Raises
    ------
    Unavailable, DeadlineExceeded
        If the endpoint does not answer as one. The message quotes neither the key nor what was asked.
    InvalidInput
        If the key cannot be read.
    """
    key = read_private(section.key_file, "experiments.agent.key_file") if section.key_file else ""
    body = {
        "model": section.model,
        "messages": list(messages),
        "temperature": 0,
        "seed": seed,
        "max_tokens": section.max_tokens,
        "response_format": {"type": "json_object"},
    }
    answer = _read(section, body, {"Authorization": f"Bearer {key}"} if key else {})
    try:
        found = json.loads(answer)
        text = found["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise Unavailable(f"What answers at {section.url} is no chat endpoint.") from None
    if not isinstance(text, str):
        raise Unavailable(f"The model at {section.url} replied without a text.")
    # An endpoint that echoes what it was sent must not bring the key into the ledger.
    return Reply(
        text.replace(key, "(key)") if key else text,
        str(found.get("model") or section.model)[:200].replace(key or "\0", "(key)"),
        (
            _count(found, "prompt_tokens", size(messages)),
            _count(found, "completion_tokens", section.max_tokens),
        ),
    )


def _read(section: AgentSection, body: dict[str, Any], headers: dict[str, str]) -> bytes:
    """Return the answer's bytes, within the time that one call may take however slowly they come."""
    deadline, read = time.monotonic() + section.timeout_s, bytearray()
    timeout = httpx.Timeout(section.timeout_s, connect=min(10, section.timeout_s))
    try:
        with (
            httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False) as client,
            client.stream(
                "POST", section.url.rstrip("/") + "/chat/completions", json=body, headers=headers
            ) as answer,
        ):
            for part in answer.iter_bytes():
                read += part
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("it drips")
                if len(read) > _MOST_BYTES:
                    raise Unavailable(f"The model at {section.url} sent more than {_MOST_BYTES} bytes.")
    except httpx.TimeoutException:
        raise DeadlineExceeded(
            f"The model at {section.url} did not answer in {section.timeout_s:g} s."
        ) from None
    except httpx.HTTPError as error:
        raise Unavailable(f"The model at {section.url} cannot be asked: {type(error).__name__}.") from None
    except (httpx.InvalidURL, UnicodeEncodeError):
        raise InvalidInput(
            "experiments.agent of the site file has an address or a key that cannot be sent."
        ) from None
    if answer.status_code != 200:
        raise Unavailable(f"The model at {section.url} answered {answer.status_code}.")
    return bytes(read)


def _count(found: dict[str, Any], name: str, most: int) -> int:
    """Return a number of tokens as the endpoint says it; where it says nothing that can be, the most that it can have been."""
    usage = found.get("usage")
    told = usage.get(name) if isinstance(usage, dict) else None
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told <= most else most
