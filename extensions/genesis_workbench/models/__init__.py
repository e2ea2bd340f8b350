"""Find a model, know what it is good for, and predict with it in one call.

A model is a version with a record: signature, card, self-test, lineage. It is verified before it is registered and
again before it is loaded, and nothing is ever unpickled. What belongs to one format is in ``formats``; nothing here
knows of datasets, experiments or the hub. Importing it is light.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

# Imported before the function `model` below is defined: a later first import would put the file in its place.
from genesis_workbench.models.model import Model
from genesis_workbench.models.record import ModelCard, ModelVersion

if TYPE_CHECKING:
    from genesis_workbench.core.access import Person
    from genesis_workbench.models.zoo import Zoo

__all__ = ["Model", "ModelCard", "ModelVersion", "get", "model", "search"]


def search(text: str = "") -> list[ModelVersion]:
    """Return the newest version of each model that has all words of `text`; all models where it is empty."""
    return _zoo().search(text, _person())


def get(reference: str) -> ModelVersion:
    """Return the record of ``name@version``, or of the newest version of ``name``."""
    return _zoo().get(reference, _person())


def model(reference: str) -> Model:
    """Load a model, ready to predict.

    Parameters
    ----------
    reference : str
        ``name@version``, such as ``clear-sky-irradiation@1``; a name alone means its newest version.

    Raises
    ------
    NotFound
        If there is none that one may see.
    VerificationFailed
        If the artifact is not what the record says, or fails its self-test on this machine.
    """
    zoo, person = _zoo(), _person()
    version = zoo.get(reference, person)
    return Model(version, zoo.artifact(version.artifact, person))


@cache
def _zoo() -> Zoo:
    from genesis_workbench.core.service import local_state, service
    from genesis_workbench.models.zoo import LocalZoo, RemoteZoo, install_builtin

    remote = service()
    if remote is not None:
        return RemoteZoo(remote)
    from genesis_workbench.core.ledger import Ledger
    from genesis_workbench.core.state import State
    from genesis_workbench.core.storage import BlobStore

    state = State(local_state())
    zoo = LocalZoo(Ledger.open(state.ledger_url()), BlobStore(state.blobs))
    install_builtin(zoo)
    return zoo


def _person() -> Person:
    """Return who asks: the account of the operating system; behind the service the token says it."""
    from genesis_workbench.core.access import Person
    from genesis_workbench.core.service import me, service

    return me() if service() is None else Person(name="")
