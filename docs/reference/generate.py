"""Write the reference pages from the code: the site file from its schema, rights from the table of scopes.

Run ``python docs/reference/generate.py`` after a change; a test fails where the pages are behind the code.
"""

from __future__ import annotations

import typing
from pathlib import Path
from types import NoneType
from typing import Any

from pydantic import BaseModel

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
    if inner:
        return " or ".join(_type(each) for each in inner if each is not NoneType)
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}.get(
        annotation.__name__, annotation.__name__
    )


if __name__ == "__main__":
    (HERE / "site.md").write_text(site_page())
    (HERE / "rights.md").write_text(rights_page())
