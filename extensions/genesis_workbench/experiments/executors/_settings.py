"""What an executor can be set to: a record for each, from which arguments are checked and forms are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.record import Record

Settings = TypeVar("Settings", bound=Record)


class NoSettings(Record):
    """There is nothing to set."""


def read(kind: type[Settings], executor: str, arguments: Mapping[str, Any]) -> Settings:
    """Return the arguments of an executor as its record.

    Raises
    ------
    InvalidInput
        Naming the first one that cannot be used; `where` names it too.
    """
    try:
        return kind.model_validate(dict(arguments))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        seen = "" if fault["type"] == "missing" or not where else f" ({fault['input']!r:.80})"
        known = ", ".join(kind.model_fields) or "none"
        raise InvalidInput(
            f"The executor {executor!r} cannot be set so: {where or 'it'}{seen}: "
            f"{fault['msg'].removeprefix('Value error, ')}. Its settings: {known}.",
            where=where,
        ) from error
