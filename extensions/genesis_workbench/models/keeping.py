"""What keepers of models say of them: aliases, stages, deprecations, signatures. One function each, for a notebook."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genesis_workbench.core.access import Person
    from genesis_workbench.models.contract import Zoo
    from genesis_workbench.models.standing import Entry


def attach_signature(reference: str, bundle: Path | str | Mapping[str, Any]) -> Entry:
    """Attach a signature of ``workbench models sign``, or of OpenSSF's ``model_signing``, by a key that the site trusts.

    Parameters
    ----------
    bundle : path or mapping
        The file with it, or its content.

    Raises
    ------
    VerificationFailed
        If no trusted key signed exactly this version.
    """
    import json

    from genesis_workbench.core.errors import InvalidInput

    if isinstance(bundle, Path | str):
        try:
            content = json.loads(Path(bundle).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{bundle} cannot be read as a signature: {str(error)[:100]}.") from error
    else:
        content = dict(bundle)
    zoo, person = _here()
    return zoo.attach_signature(reference, content, person)


def set_alias(reference: str, alias: str, *, reason: str = "") -> None:
    """Point ``name@alias`` to a version: ``set_alias("bandgap@3", "champion")``. `reference` without version takes it away.

    Raises
    ------
    PermissionRefused
        If the name is somebody else's.
    """
    from genesis_workbench.models.reference import parse

    zoo, person, wanted = *_here(), parse(reference)
    version = wanted.version
    if wanted.alias:
        version = zoo.get(reference, person).version
    zoo.move_alias(wanted.name, alias, version, person, reason=reason)


def undo_alias(reference: str, *, reason: str = "") -> None:
    """Point ``name@alias`` back to where it pointed before its last move."""
    from genesis_workbench.core.errors import InvalidInput
    from genesis_workbench.models.reference import parse

    wanted = parse(reference)
    if not wanted.alias:
        raise InvalidInput(f"{reference!r} names no alias. Write it like 'bandgap@champion'.")
    zoo, person = _here()
    zoo.undo_alias(wanted.name, wanted.alias, person, reason=reason)


def propose(reference: str, *, reason: str = "") -> Entry:
    """Make a draft of one's own a candidate for approval."""
    zoo, person = _here()
    return zoo.set_stage(reference, "candidate", person, reason=reason)


def approve(reference: str, *, digest: str = "", reason: str = "") -> Entry:
    """Approve a candidate that somebody else registered, for exactly this record.

    Parameters
    ----------
    digest : str
        ``ModelVersion.digest`` of what was looked at; of the record there is now where left out.
    """
    zoo, person = _here()
    seen = digest or zoo.get(reference, person).digest
    return zoo.set_stage(reference, "approved", person, reason=reason, digest=seen)


def refuse(reference: str, reason: str) -> Entry:
    """Make a candidate a draft again, and say why."""
    zoo, person = _here()
    return zoo.set_stage(reference, "draft", person, reason=reason)


def retire(reference: str, *, reason: str = "") -> Entry:
    """Retire a version: it can be loaded by its number, with a warning, and nothing else leads to it."""
    zoo, person = _here()
    return zoo.set_stage(reference, "retired", person, reason=reason)


def deprecate(reference: str, reason: str, *, successor: str = "") -> Entry:
    """Say that a version should no longer be used: whoever loads it is warned, with reason and successor."""
    zoo, person = _here()
    return zoo.deprecate(reference, reason, person, successor=successor)


def lift_deprecation(reference: str) -> Entry:
    """Take a deprecation back."""
    zoo, person = _here()
    return zoo.lift_deprecation(reference, person)


def _here() -> tuple[Zoo, Person]:
    # The package imports this file, and has a function and a file that are both called `model`: mypy must not follow.
    models = importlib.import_module("genesis_workbench.models")
    return models._zoo(), models._person()
