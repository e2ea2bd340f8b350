"""Language models, agents and experiments."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from genesis_workbench.core.site._section import Section


class LanguageSection(Section):
    """Language models that the site runs elsewhere, passed on at api/language/v1 in OpenAI's protocol."""

    url: str = Field(
        "",
        description="Address of the service that has them, with its version, such as 'https://inference.lab.example/v1'; "
        "nothing is passed on where empty.",
    )
    key_file: str = Field(
        "",
        description="File (mode 0600) with the key that the service wants, read at each request; none where empty.",
    )
    key_header: Literal["Authorization", "X-Api-Key"] = Field(
        "Authorization", description="Header that carries the key: as a bearer token, or as it is."
    )
    models: list[str] = Field(
        default_factory=list, description="Models that may be asked; all of the service's where empty."
    )
    request_bytes: int = Field(2**20, gt=0, description="Most bytes of one question.")
    answer_bytes: int = Field(16 * 2**20, gt=0, description="Most bytes of one answer.")
    per_minute: int = Field(30, gt=0, description="Questions that one person may ask in a minute.")
    at_once: int = Field(4, gt=0, description="Questions of one person that are open at once.")
    silence_s: float = Field(
        120, gt=0, description="Seconds that the service may be silent before or within an answer."
    )


class AgentSection(Section):
    """A language model that may propose trials, behind a chat endpoint in the shape of OpenAI's. Off where `url` is empty."""

    url: str = Field(
        "",
        pattern=r"^(https?://.*)?$",
        description="Address of the endpoint without '/chat/completions', such as 'https://inference.example.gov/v1'.",
    )
    model: str = Field("", description="Name of the model there.")
    key_file: str = Field(
        "",
        description="File with the endpoint's key, mode 0600, read at each call; where empty, none is sent. The key itself is "
        "never in the site file, the ledger or a log.",
    )
    timeout_s: float = Field(60.0, gt=0, le=3600, description="Seconds that one call may take.")
    max_tokens: int = Field(4_000, gt=0, le=100_000, description="Most tokens of one reply.")
    input_price: float = Field(
        0.0, ge=0, description="Money for a million tokens of prompts, counted to the budget's money."
    )
    output_price: float = Field(0.0, ge=0, description="Money for a million tokens of replies.")
    currency: str = Field(
        "USD", pattern=r"^[A-Z]{3}$", description="ISO 4217 code of the currency of the prices."
    )


class ExperimentsSection(Section):
    """What experiments may use."""

    parallel_trials: int = Field(2, gt=0, description="Trials of one experiment that run at once.")
    max_trials: int = Field(10_000, gt=0, description="Most trials that one experiment may ask for.")
    own_code: bool = Field(
        False,
        description="Whether experiments may run people's own commands and functions: they run with the rights of the "
        "runner's account, so say yes only where people's servers have the same.",
    )
    agent: AgentSection = Field(
        default_factory=AgentSection, description="The language model of the proposer `agent`."
    )
