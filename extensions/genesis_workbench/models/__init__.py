"""Find a model, know what it is good for, and predict with it in one call.

A model is a version with a record: signature, card, self-test, lineage. It is verified before it is registered and
again before it is loaded, and nothing is ever unpickled. What belongs to one format is in ``formats``; nothing here
knows of datasets, experiments or the hub. Importing it is light.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis_workbench.models.keeping import (
    approve,
    attach_signature,
    deprecate,
    lift_deprecation,
    propose,
    refuse,
    retire,
    set_alias,
    undo_alias,
)

# Imported before the function `model` below is defined: a later first import would put the file in its place.
from genesis_workbench.models.model import Model
from genesis_workbench.models.record import DatasetVersion, Metric, ModelCard, ModelVersion, SelfTest
from genesis_workbench.models.signature import Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genesis_workbench.core.access import Person
    from genesis_workbench.models.ancestry import Lineage
    from genesis_workbench.models.contract import Zoo
    from genesis_workbench.models.exchange._base import Incoming
    from genesis_workbench.models.standing import Entry

__all__ = [
    "DatasetVersion",
    "DeprecatedModel",
    "Metric",
    "Model",
    "ModelCard",
    "ModelVersion",
    "SelfTest",
    "Signature",
    "TensorSpec",
    "approve",
    "attach_signature",
    "deprecate",
    "entries",
    "entry",
    "export",
    "export_to_mlflow",
    "get",
    "history",
    "import_folder",
    "import_from_mlflow",
    "lift_deprecation",
    "lineage",
    "model",
    "propose",
    "refuse",
    "register",
    "retire",
    "search",
    "set_alias",
    "undo_alias",
    "versions",
]


class DeprecatedModel(UserWarning):
    """A model is used that should no longer be, or is retired."""


def search(text: str = "") -> list[ModelVersion]:
    """Return the newest version of each model that has all words of `text`; all models where it is empty."""
    return _zoo().search(text, _person())


def entries(text: str = "") -> list[Entry]:
    """Return what :func:`search` does, each with its stage, aliases and deprecation."""
    return _zoo().entries(text, _person())


def get(reference: str) -> ModelVersion:
    """Return the record of ``name@version``, ``name@alias``, or of the newest version of ``name``."""
    return _zoo().get(reference, _person())


def versions(name: str) -> list[Entry]:
    """Return all versions of a name, newest first, each with its stage, aliases and deprecation."""
    return _zoo().versions(name, _person())


def entry(reference: str) -> Entry:
    """Return a version with its stage, aliases and deprecation."""
    return _zoo().entry(reference, _person())


def history(name: str) -> list[dict[str, Any]]:
    """Return who moved, approved or deprecated which version of a name, when and why; oldest first."""
    return _zoo().history(name, _person())


def lineage(reference: str) -> Lineage:
    """Return from what a version came, without loading it; a drawing in a notebook."""
    from genesis_workbench.models.ancestry import trace

    zoo, person = _zoo(), _person()
    return trace(zoo.get(reference, person), lambda name: zoo.get(name, person))


def model(reference: str) -> Model:
    """Load a model, ready to predict.

    Parameters
    ----------
    reference : str
        ``name@version``, such as ``clear-sky-irradiation@1``, or ``name@alias``; a name alone means its newest version.

    Raises
    ------
    NotFound
        If there is none that one may see.
    VerificationFailed
        If the artifact is not what the record says, fails its self-test on this machine, or lacks the signature that the
        site demands.

    Warns
    -----
    DeprecatedModel
        If it is deprecated, with the reason and the successor, or retired.
    """
    import warnings

    from genesis_workbench.core.site import this_site

    zoo, person, demands = _zoo(), _person(), this_site().models
    found = zoo.entry(reference, person)
    version, said = found.version, found.standing.deprecation
    if said is not None:
        warnings.warn(said.warning(version.reference), DeprecatedModel, stacklevel=2)
    elif found.standing.stage == "retired":
        warnings.warn(f"{version.reference} is retired.", DeprecatedModel, stacklevel=2)
    if demands.require_signature:
        from genesis_workbench.models import signing

        signing.verify(version, found.standing.signature, demands.trusted_keys)
    artifact = zoo.artifact(version.artifact, person)
    return Model(version, artifact, find=lambda name: zoo.get(name, person))


def register(
    name: str,
    format: str,  # noqa: A002 - the record's word
    artifact: bytes | Path | str,
    signature: Signature,
    card: ModelCard,
    self_test: SelfTest,
    *,
    lineage: dict[str, Any] | None = None,
    training_inputs: Any = None,
    held_out: tuple[Any, Mapping[str, Any]] | None = None,
    reuse: bool = False,
) -> ModelVersion:
    """Verify a model and add it to the zoo as the next version of its name.

    Parameters
    ----------
    name : str
        Name of the model. Only who registered its first version may add others.
    format : str
        Name of a registered format, such as ``onnx``.
    artifact : bytes or path
        The model; a path names the file that holds it.
    signature, card, self_test : Signature, ModelCard, SelfTest
        What it takes and gives, what a person must know, and what it must answer on every machine.
    lineage : dict, optional
        From which code and job it came, as JSON values; ``parent`` names the model that it was made from.
    training_inputs : mapping, xarray.Dataset or DataFrame, optional
        A sample of the inputs that it was trained on, by their names: ``predict(..., flag=True)`` then tells what is
        unlike them. Only means and a matrix go into the record.
    held_out : tuple, optional
        Inputs that it was not trained on, and a mapping with the true outputs: ``predict(..., interval=0.9)`` then gives
        conformal intervals.
    reuse : bool
        Return the version there is, where one has the same artifact, signature, card and self-test.

    Raises
    ------
    VerificationFailed
        If the format refuses the artifact, or it does not do what signature and self-test say.
    PermissionRefused
        If the name belongs to somebody else.
    InvalidInput
        If its label is less strict than that of a dataset or parent it names.
    """
    data = artifact if isinstance(artifact, bytes) else Path(artifact).read_bytes()
    person, domain, intervals = _person(), None, None
    if training_inputs is not None or held_out is not None:
        from genesis_workbench.core.identifiers import digest
        from genesis_workbench.models import fitting

        if training_inputs is not None:
            domain = fitting.domain(signature, training_inputs)
        if held_out is not None:
            promised = ModelVersion(
                name=name,
                version=1,
                format=format,
                artifact=digest(data),
                size_bytes=len(data),
                signature=signature,
                card=card,
                self_test=self_test,
            )
            intervals = fitting.intervals(promised, data, *held_out)
    return _zoo().register(
        name,
        format,
        data,
        signature,
        card,
        self_test,
        actor=person.name,
        lineage=lineage,
        reuse=reuse,
        domain=domain,
        intervals=intervals,
    )


def export(reference: str, folder: Path | str, *, layout: str = "genesis") -> Path:
    """Write a version into a new folder.

    Parameters
    ----------
    layout : str
        ``genesis``: artifact and record, which is what is signed; ``huggingface``: weights, ``config.json`` and ``README.md``;
        ``mlflow``: what ``mlflow.pyfunc.load_model`` opens; ``bioimageio``: what ``bioimageio.core`` opens.

    Raises
    ------
    Conflict
        If the folder is there.
    """
    from genesis_workbench.core.errors import Conflict
    from genesis_workbench.models import exchange, signing

    zoo, person, target = _zoo(), _person(), Path(folder)
    if target.exists():
        raise Conflict(f"{target} is there already. Name a folder that is not.")
    write = signing.write if layout == "genesis" else exchange.layout(layout).write
    version = zoo.get(reference, person)
    write(version, zoo.artifact(version.artifact, person), target)
    return target


def import_folder(
    name: str,
    folder: Path | str,
    *,
    layout: str = "huggingface",
    signature: Signature | None = None,
    card: ModelCard | None = None,
    self_test: SelfTest | None = None,
    **options: Any,
) -> ModelVersion:
    """Register a model that came in another layout; its source's hashes are kept in its lineage.

    Parameters
    ----------
    name : str
        Name here.
    folder : path
        Where it lies, as it was downloaded; for ``bioimageio`` also the zip archive.
    layout : str
        ``huggingface``, ``mlflow`` or ``bioimageio``.
    signature, card, self_test : optional
        What the layout does not say, or says otherwise.
    **options
        As for :func:`register`.

    Raises
    ------
    InvalidInput
        If it has no artifact that the zoo can run, or does not say enough; names what is missing.
    VerificationFailed
        If a file is not the one that its source gave.
    """
    from genesis_workbench.models import exchange

    found = exchange.layout(layout).read(Path(folder))
    return _take(name, found, str(folder), signature, card, self_test, options)


def import_from_mlflow(
    name: str,
    server: str,
    model: str,
    version: int | str,
    *,
    token_file: Path | str | None = None,
    signature: Signature | None = None,
    card: ModelCard | None = None,
    self_test: SelfTest | None = None,
    **options: Any,
) -> ModelVersion:
    """Register a version that a registry of MLflow has; server, version, run and hashes are kept in its lineage.

    Parameters
    ----------
    name : str
        Name here.
    server : str
        Address of the server, such as ``https://mlflow.lab.example``; it must serve its artifacts.
    model, version : str, int
        Name and version there.
    token_file : path, optional
        File with a bearer token.
    signature, card, self_test, **options
        As for :func:`import_folder`, which it raises like.
    """
    from genesis_workbench.models.exchange.mlflow_server import MlflowServer

    found = MlflowServer(server, token_file).read(model, version)
    return _take(name, found, f"{model} version {version}", signature, card, self_test, options)


def export_to_mlflow(
    reference: str, server: str, model: str = "", *, token_file: Path | str | None = None
) -> str:
    """Register a version in a registry of MLflow, with its hashes as tags, and return the number that it has there.

    Parameters
    ----------
    model : str
        Name there; the same as here where empty.

    Raises
    ------
    PermissionRefused
        If the model is not public: what the server shows to whom is not known here. Or if the server refuses the token.
    InvalidInput
        If its format has no place in MLflow.
    """
    from genesis_workbench.core.errors import PermissionRefused
    from genesis_workbench.models.exchange.mlflow_server import MlflowServer

    zoo, person = _zoo(), _person()
    version = zoo.get(reference, person)
    if version.card.label != "public":
        raise PermissionRefused(
            f"{version.reference} is {version.card.label}, and who sees it on {server} is not known here. Export it into a folder, "
            "and hand that over as its label demands."
        )
    artifact = zoo.artifact(version.artifact, person)
    return MlflowServer(server, token_file).write(version, artifact, model or version.name)


def _take(
    name: str,
    found: Incoming,
    where: str,
    signature: Signature | None,
    card: ModelCard | None,
    self_test: SelfTest | None,
    options: dict[str, Any],
) -> ModelVersion:
    """Register what came in."""
    from genesis_workbench.models import exchange

    parts = exchange.complete(found, where, signature, card, self_test)
    lineage = {**(options.pop("lineage", None) or {}), "source": found.source}
    return register(name, found.format, found.artifact, *parts, lineage=lineage, **options)


@cache
def _zoo() -> Zoo:
    from genesis_workbench.core.service import local_state, service

    remote = service()
    if remote is not None:
        from genesis_workbench.models.remote import RemoteZoo

        return RemoteZoo(remote)
    from genesis_workbench.core.ledger import Ledger
    from genesis_workbench.core.site import this_site
    from genesis_workbench.core.state import State
    from genesis_workbench.models import store
    from genesis_workbench.models.shipped import install_builtin
    from genesis_workbench.models.zoo import LocalZoo

    state, site = State(local_state()), this_site()
    zoo = LocalZoo(
        Ledger.open(state.ledger_url()), store.artifacts(site, state), trusted=site.models.trusted_keys
    )
    install_builtin(zoo)
    return zoo


def _person() -> Person:
    """Return who asks: the account of the operating system; behind the service the token says it."""
    from genesis_workbench.core.access import Person
    from genesis_workbench.core.service import me, service

    return me() if service() is None else Person(name="")
