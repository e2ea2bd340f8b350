"""The contract of a recipe, and how its code gets into a job: as files whose hash the job knows."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from genesis_workbench.core import plugins
from genesis_workbench.core.errors import InvalidInput, MissingDependency, NotFound, VerificationFailed
from genesis_workbench.core.identifiers import digest_file, digest_json

if TYPE_CHECKING:
    import torch

    from genesis_workbench.models.record import ModelCard, SelfTest
    from genesis_workbench.models.signature import Signature
    from genesis_workbench.training.configuration import Configuration
    from genesis_workbench.training.shards import Shards

CLASS = "Recipe"
"""Name that a recipe's folder gives its class."""
_MODULE = "genesis_recipe"
_SUFFIXES = (".py", ".json", ".toml", ".md")


@dataclass(frozen=True)
class Data:
    """What a recipe trains on.

    Attributes
    ----------
    train, validation, test : Shards
        Disjoint. The test data are used once, for the model's card.
    facts : dict
        JSON that follows from the data and that model and card need, such as means and units.
    simulator : str
        What made the data, with its version, where a simulator did.
    """

    train: Shards
    validation: Shards
    test: Shards
    facts: dict[str, Any] = field(default_factory=dict)
    simulator: str = ""


@dataclass(frozen=True)
class Parent:
    """A model that training goes on from.

    Attributes
    ----------
    reference : str
        As the zoo calls it.
    weights : dict of str to torch.Tensor
        Its tensors.
    """

    reference: str
    weights: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Product:
    """A trained model as the zoo takes it."""

    format: str
    artifact: bytes
    signature: Signature
    card: ModelCard
    self_test: SelfTest


class Recipe(Protocol):
    """A way to train one kind of model.

    A recipe's folder has an ``__init__.py`` in which the class is called ``Recipe``; the folder goes into the job as it is, so its
    files import each other by relative imports, and the workbench by its name. Random numbers come from torch alone: torch is
    seeded anew before each step from the seed, the step and the process, so that a run that was killed goes on bit for bit.

    It may have ``flops(model) -> float``, floating-point operations of one sample, forward and backward: then the curve of a run on an
    accelerator says what share of its peak the model makes use of.
    """

    name: ClassVar[str]
    """As its entry point is called."""
    title: ClassVar[str]
    """What it trains, in a few words."""
    Config: ClassVar[type[Configuration]]
    """What it can be told."""

    def data(self, config: Any, opened: Sequence[Any], folder: Path) -> Data:
        """Return the data. Called at each start, it must give the same each time.

        Parameters
        ----------
        config : Configuration
            Of type `Config`.
        opened : sequence
            What ``gw.open`` gives for each dataset that the run was given.
        folder : Path
            Of the job, for what is made and kept.
        """
        ...

    def model(self, config: Any, data: Data, parent: Parent | None) -> torch.nn.Module:
        """Return the model as it starts, on the processor."""
        ...

    def losses(self, model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the loss of each sample, shape (samples,). `model` may be wrapped: only call it."""
        ...

    def product(self, model: torch.nn.Module, config: Any, data: Data) -> Product:
        """Return the trained model for the zoo, with metrics on the test data."""
        ...


@dataclass(frozen=True)
class Code:
    """The files of a recipe.

    Attributes
    ----------
    name : str
        The recipe's name.
    folder : Path
        Where its files lie.
    files : dict of str to str
        Path in the folder to the file's hash.
    """

    name: str
    folder: Path
    files: dict[str, str]

    @property
    def digest(self) -> str:
        """Hash of all files with their names."""
        return digest_json(self.files)


def recipes() -> dict[str, str]:
    """Return the recipes that are installed: name to what each trains."""
    return {name: _installed(name).title for name in plugins.names("recipes")}


def find(recipe: str | Path) -> tuple[type[Recipe], Code]:
    """Return a recipe's class and code, by the name of an installed one or by a folder.

    Raises
    ------
    NotFound
        If there is neither.
    InvalidInput
        If the folder holds no recipe.
    MissingDependency
        If torch, or another package that it needs, is not installed here.
    """
    if isinstance(recipe, str) and recipe in plugins.names("recipes"):
        found = _installed(recipe)
        return found, read_code(recipe, Path(inspect.getfile(found)).parent)
    folder = Path(recipe).expanduser()
    if not (folder / "__init__.py").is_file():
        known = ", ".join(plugins.names("recipes")) or "none"
        raise NotFound(
            f"There is no recipe {str(recipe)!r}: neither installed nor a folder with an __init__.py. Installed: {known}."
        )
    found = load_code(folder)
    return found, read_code(found.name, folder)


def _installed(name: str) -> type[Recipe]:
    try:
        found: type[Recipe] = plugins.load("recipes", name)
    except MissingDependency as error:
        raise MissingDependency(
            f"The recipe {name!r} needs a package that is not installed: {error.__cause__}. "
            'Install it with: pip install "genesis-workbench[training]"'
        ) from error
    return found


def read_code(name: str, folder: Path) -> Code:
    """Return the files of a recipe's folder with their hashes; caches and hidden files are left out."""
    files = {
        path.relative_to(folder).as_posix(): digest_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.suffix in _SUFFIXES
        and not any(part.startswith((".", "__pycache__")) for part in path.relative_to(folder).parts)
    }
    return Code(name, folder, files)


def load_code(folder: Path, files: Mapping[str, str] | None = None) -> type[Recipe]:
    """Import a recipe from a folder.

    Parameters
    ----------
    folder : Path
        The recipe's folder.
    files : mapping of str to str, optional
        What must be in it: path to hash.

    Raises
    ------
    VerificationFailed
        If the files are not those.
    InvalidInput
        If it has no class ``Recipe``.
    """
    if files is not None and (found := read_code("", folder).files) != dict(files):
        odd = sorted(name for name in {*found, *files} if found.get(name) != files.get(name))
        raise VerificationFailed(f"The recipe's code is not what the run was given: {', '.join(odd)} differ.")
    spec = importlib.util.spec_from_file_location(
        _MODULE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None  # noqa: S101 - the path ends in .py
    assert spec.loader is not None  # noqa: S101
    for name in [each for each in sys.modules if each.partition(".")[0] == _MODULE]:
        del sys.modules[name]  # of a recipe that was looked at before
    module = sys.modules[_MODULE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not inspect.isclass(getattr(module, CLASS, None)):
        raise InvalidInput(f"{folder / '__init__.py'} has no class {CLASS!r}. Name the recipe's class so.")
    made: type[Recipe] = getattr(module, CLASS)
    return made
