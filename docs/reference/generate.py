"""Write the reference pages from the code: the site file from its schema, rights from the table of scopes, sources.

Run ``python docs/reference/generate.py`` after a change; a test fails where the pages are behind the code.
"""

from __future__ import annotations

import typing
from pathlib import Path
from types import NoneType
from typing import Any

from pydantic import BaseModel

from genesis_workbench.core import plugins
from genesis_workbench.core.scopes import SCOPES
from genesis_workbench.core.site import Site

HERE = Path(__file__).parent


def site_page() -> str:
    """Return the page on the site file."""
    lines = [
        "# The site file",
        "",
        "One TOML file says what a site is; `workbench validate FILE` checks it. An unknown key is an error that names the",
        "nearest known one. Secrets are not in it.",
    ]
    for heading, model in _sections(Site, ""):
        lines += ["", f"## {heading}", "", "| Key | Type | Default | Meaning |", "| --- | --- | --- | --- |"]
        for name, field in model.model_fields.items():
            if _nested(field.annotation) is not None:
                continue
            default = (
                "required" if field.is_required() else f"`{field.get_default(call_default_factory=True)!r}`"
            )
            lines.append(f"| `{name}` | {_type(field.annotation)} | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def rights_page() -> str:
    """Return the page on rights."""
    lines = [
        "# Rights",
        "",
        "Each is a custom scope of JupyterHub. Roles grant them to people and groups; a server's token has those that its",
        "owner had when it was started.",
        "",
        "| Right | What a person who holds it can do | Everybody |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| `{scope.name}` | {scope.description} | {'yes' if scope.everyone else ''} |" for scope in SCOPES
    ]
    return "\n".join(lines) + "\n"


def sources_page() -> str:
    """Return the page on the kinds of sources."""
    lines = [
        "# Sources",
        "",
        "What `kind` of a source can be in the site file. *Changes*: the protocol can say what changed since the last",
        "harvest, so only that is asked for; the others are read whole, if their place says that they have changed.",
        "*Live*: `gw.catalog.items` asks it at once, by these terms.",
        "",
        "| Kind | Protocol | What it lists | Changes | Live |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in plugins.names("sources"):
        source = plugins.load("sources", name)
        terms = ", ".join(sorted(getattr(source, "item_terms", ())))
        first = " ".join(source.__doc__.strip().partition("\n\n")[0].split())
        lines.append(
            f"| `{name}` | {source.protocol} | {first} | {'yes' if source.incremental else ''} | {terms} |"
        )
    return "\n".join(lines) + "\n"


def _sections(model: type[BaseModel], path: str) -> list[tuple[str, type[BaseModel]]]:
    found = [(f"`[{path}]`" if path else "Top level", model)]
    for name, field in model.model_fields.items():
        nested = _nested(field.annotation)
        if nested is not None:
            inner, many = nested
            below = f"{path}.{name}" if path else name
            found += _sections(inner, f"[{below}]" if many else below)
    return found


def _nested(annotation: Any) -> tuple[type[BaseModel], bool] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    inner = typing.get_args(annotation)
    if (
        typing.get_origin(annotation) is list
        and isinstance(inner[0], type)
        and issubclass(inner[0], BaseModel)
    ):
        return inner[0], True
    return None


def _type(annotation: Any) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{value!r}`" for value in inner)
    if origin is list:
        return f"list of {_type(inner[0])}"
    if origin is dict:
        return f"table of {_type(inner[1])}"
    if inner:
        return " or ".join(_type(each) for each in inner if each is not NoneType)
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}.get(
        annotation.__name__, annotation.__name__
    )


def pages() -> dict[str, str]:
    """Return every page by the name of its file."""
    return {"site.md": site_page(), "rights.md": rights_page(), "sources.md": sources_page()}


if __name__ == "__main__":
    for file, text in pages().items():
        (HERE / file).write_text(text)
