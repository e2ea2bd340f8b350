"""The site's language models, passed on in OpenAI's protocol: with the site's key, and nothing of the person's but the question.

Source: OpenAI API, chat completions and models; the answers of a stream are server-sent events that end with ``[DONE]``.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import GenesisError, InvalidInput, NotFound, Unavailable
from genesis_workbench.core.secret import read_private
from genesis_workbench.core.site import LanguageSection

log = logging.getLogger(__name__)

_MINUTE_S = 60.0
_KEPT_BACK = frozenset({"user", "safety_identifier", "prompt_cache_key"})
"""Fields of a question that would name the person to whoever runs the models."""
_MOST_REASON_BYTES = 2000


class TooMany(GenesisError, RuntimeError):
    """More questions than one person may ask now; `wait_s` says when there is room again."""

    code = "too-many-requests"
    status = 429

    def __init__(self, message: str, *, wait_s: float) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class LanguageModels:
    """Passes questions on to the service that the site names.

    Parameters
    ----------
    section : LanguageSection
        Where it is, and the limits.
    clock : callable
        Seconds that only go forward.
    """

    def __init__(self, section: LanguageSection, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._section, self._clock = section, clock
        self._asked: dict[str, deque[float]] = {}
        self._open: Counter[str] = Counter()
        timeout = httpx.Timeout(section.silence_s, connect=5)
        # The key follows no redirect and no proxy of the environment.
        self._http = httpx.AsyncClient(timeout=timeout, trust_env=False, follow_redirects=False)

    @property
    def most_bytes(self) -> int:
        """Most bytes of a question."""
        return self._section.request_bytes

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def models(self) -> dict[str, Any]:
        """Return the models that may be asked, as the service lists them."""
        answer = await self._send("GET", "/models", None)
        try:
            told = json.loads(b"".join([piece async for piece in self._limited(answer)]))
            listed = [
                each for each in told["data"] if isinstance(each, dict) and isinstance(each.get("id"), str)
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise Unavailable(
                "The site's language models gave no list. Tell the operator.", detail=repr(error)
            ) from error
        finally:
            await answer.aclose()
        known = [each for each in listed if not self._section.models or each["id"] in self._section.models]
        return {"object": "list", "data": known}

    async def ask(self, data: bytes, person: Person) -> tuple[str, AsyncIterator[bytes]]:
        """Pass a question on, and return the answer's content type and its pieces as they come.

        Raises
        ------
        InvalidInput
            If it is no question, or the service refuses it; says why.
        NotFound
            If the site has no language models, or not this one.
        TooMany
            If this person asks too much.
        Unavailable
            If the service does not answer, or does not know the site's key.
        """
        question = self._question(data)
        self._admit(person.name)
        try:
            answer = await self._send("POST", "/chat/completions", question)
        except BaseException:
            self._leave(person.name)
            raise
        kind = "text/event-stream" if question.get("stream") else "application/json"
        return kind, self._pieces(answer, person.name)

    def _question(self, data: bytes) -> dict[str, Any]:
        try:
            told = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"The question is no JSON: {str(error)[:200]}.") from error
        if (
            not isinstance(told, dict)
            or not isinstance(told.get("model"), str)
            or not isinstance(told.get("messages"), list)
        ):
            raise InvalidInput(
                "A question needs 'model' and a list of 'messages', as in OpenAI's chat completions."
            )
        if self._section.models and told["model"] not in self._section.models:
            raise NotFound(
                f"There is no language model {told['model'][:100]!r} here. Known are: {', '.join(self._section.models)[:500]}."
            )
        return {name: value for name, value in told.items() if name not in _KEPT_BACK}

    def _admit(self, name: str) -> None:
        now = self._clock()
        self._asked = {
            who: times for who, times in self._asked.items() if times and now - times[-1] < _MINUTE_S
        }
        times = self._asked.setdefault(name, deque())
        while times and now - times[0] >= _MINUTE_S:
            times.popleft()
        if len(times) >= self._section.per_minute:
            raise TooMany(
                f"You asked {len(times)} questions within a minute, which is as many as one person may. Wait a little.",
                wait_s=_MINUTE_S - (now - times[0]),
            )
        if self._open[name] >= self._section.at_once:
            raise TooMany(f"You have {self._open[name]} questions open. Wait for an answer first.", wait_s=1)
        times.append(now)
        self._open[name] += 1

    def _leave(self, name: str) -> None:
        self._open[name] -= 1
        self._open += Counter()  # forgets who has none

    async def _send(self, method: str, path: str, question: dict[str, Any] | None) -> httpx.Response:
        if not self._section.url:
            raise NotFound(
                "This site has no language models. An operator names a service that does in [language] url."
            )
        request = self._http.build_request(
            method, self._section.url.rstrip("/") + path, json=question, headers=self._headers()
        )
        try:
            answer = await self._http.send(request, stream=True)
        except httpx.TransportError as error:
            raise Unavailable(
                "The site's language models do not answer. Try again in a moment.", detail=repr(error)
            ) from error
        if not answer.is_success:
            raise await self._refusal(answer)
        return answer

    def _headers(self) -> dict[str, str]:
        if not self._section.key_file:
            return {}
        try:
            key = read_private(self._section.key_file, "language.key_file")
        except InvalidInput as error:
            raise Unavailable(
                "The key of the site's language models cannot be read. Tell the operator.", detail=str(error)
            ) from error
        return {
            self._section.key_header: f"Bearer {key}" if self._section.key_header == "Authorization" else key
        }

    async def _refusal(self, answer: httpx.Response) -> GenesisError:
        said = b""
        try:
            async for piece in answer.aiter_bytes():
                said += piece
                if len(said) > _MOST_REASON_BYTES:
                    break
        except httpx.TransportError as error:
            log.info("The reason of a refusal did not arrive: %r", error)
        await answer.aclose()
        # Some services repeat the key that they refuse.
        key = answer.request.headers.get(self._section.key_header, "").removeprefix("Bearer ")
        text = said.decode("utf-8", "replace")
        text = text.replace(key, "(the key)") if key else text
        detail = f"status {answer.status_code}: {text[:_MOST_REASON_BYTES]}"
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            return TooMany(
                "The site's language models have more questions than they take. Wait a little.", wait_s=10
            )
        if answer.status_code in (
            httpx.codes.BAD_REQUEST,
            httpx.codes.NOT_FOUND,
            httpx.codes.UNPROCESSABLE_ENTITY,
        ):
            return InvalidInput(f"The site's language models refuse the question: {_reason(text)}")
        # Whether the site's key is good, and how the service breaks, is the operator's business: the log has it.
        return Unavailable(
            "The site's language models cannot answer now. Tell the operator if it lasts.", detail=detail
        )

    async def _pieces(self, answer: httpx.Response, name: str) -> AsyncIterator[bytes]:
        try:
            async for piece in self._limited(answer):
                yield piece
        except httpx.TransportError as error:
            log.warning("The language models' service ended in the middle of an answer: %r", error)
            raise
        finally:
            self._leave(name)
            await answer.aclose()

    async def _limited(self, answer: httpx.Response) -> AsyncIterator[bytes]:
        size = 0
        async for piece in answer.aiter_bytes():
            size += len(piece)
            if size > self._section.answer_bytes:
                raise Unavailable(
                    f"The answer is longer than {self._section.answer_bytes:,} bytes, and was cut."
                )
            yield piece


def _reason(said: str) -> str:
    """Return the sentence in an error of the protocol."""
    try:
        told = json.loads(said)
    except ValueError:
        told = None
    error = told.get("error") if isinstance(told, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return str(message)[:500] if message else "they do not say why."
