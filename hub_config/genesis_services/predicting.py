"""Predictions over REST: who may, how much, and from JSON to numbers and back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from genesis_services.batching import Batcher
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import InvalidInput, TooLarge, Unavailable
from genesis_workbench.core.site import ModelsSection
from genesis_workbench.models import prediction, signing
from genesis_workbench.models.conversion import conversion
from genesis_workbench.models.record import ModelVersion
from genesis_workbench.models.serving import Predictor
from genesis_workbench.models.signature import TensorSpec
from genesis_workbench.models.standing import Entry
from genesis_workbench.models.zoo import LocalZoo

MOST_BYTES = 4 * 2**20
"""Of one question."""


class Question(BaseModel):
    """What is asked of a model."""

    model_config = ConfigDict(extra="forbid")

    inputs: dict[str, Any] = Field(
        description="Numbers by input: a list with one entry for each sample, or one number for all; null where one is missing."
    )
    units: dict[str, str] = Field(
        default_factory=dict, description="Unit of an input; the signature's where not given."
    )
    interval: float | None = Field(
        None, gt=0, lt=1, description="Probability of the intervals that are given beside each output."
    )


@dataclass(frozen=True)
class _Asked:
    """One question, ready to run: with others of the same version."""

    version: ModelVersion
    person: Person
    inputs: dict[str, np.ndarray] = field(repr=False)

    @property
    def rows(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def key(self) -> Hashable:
        """Questions of one key can run together; each of a model whose first axis has a fixed length runs alone."""
        fixed = any(
            spec.shape[:1] != (None,)
            for spec in (*self.version.signature.inputs, *self.version.signature.outputs)
        )
        return (
            self.version.reference,  # a version never changes, and its digest takes as long as a prediction
            *(array.shape[1:] for array in self.inputs.values()),
            id(self) if fixed else 0,
        )


class Predictions:
    """Answers questions within the site's limits.

    Parameters
    ----------
    zoo : LocalZoo
        Where the models are.
    section : ModelsSection
        The limits, and whether signatures are demanded.
    """

    def __init__(self, zoo: LocalZoo, section: ModelsSection, predictor: Predictor | None = None) -> None:
        self._zoo, self._section = zoo, section
        self._predictor = predictor or Predictor(deadline_s=section.predict_deadline_s)
        self._batcher = Batcher(
            self._run, most_rows=section.predict_rows, most_waiting=section.predict_waiting
        )
        self._asking: Counter[str] = Counter()

    async def ask(self, entry: Entry, question: Question, person: Person) -> dict[str, Any]:
        """Answer one question.

        Raises
        ------
        VerificationFailed
            If the site demands a signature, and the version has none that counts.
        InvalidInput
            If an input is missing, unknown, no number, or in a unit of another kind.
        TooLarge
            If it has more rows than the site allows.
        Unavailable
            If too many wait, or this person has too many questions open.
        """
        version = entry.version
        if self._section.require_signature:
            signing.verify(version, entry.standing.signature, self._section.trusted_keys)
        margins = {} if question.interval is None else prediction.margins(version, question.interval)
        asked = _Asked(version, person, numbers(version, question, self._section.predict_rows))
        with self._one_more(person.name):
            outputs = await self._batcher.ask(asked.key, asked.rows, asked)
        return answer(entry, outputs, margins)

    def close(self) -> None:
        """End the processes."""
        self._predictor.close()

    def _run(self, _key: Hashable, questions: list[Any]) -> list[dict[str, np.ndarray]]:
        first = questions[0]
        names = list(first.inputs)
        joined = {name: np.concatenate([each.inputs[name] for each in questions]) for name in names}
        outputs = self._predictor.predict(
            first.version, lambda: self._zoo.artifact(first.version.artifact, first.person), joined
        )
        if len(questions) == 1:
            return [outputs]
        ends = np.cumsum([each.rows for each in questions])[:-1]
        parts = {name: np.split(array, ends) for name, array in outputs.items()}
        return [{name: parts[name][number] for name in parts} for number in range(len(questions))]

    @contextmanager
    def _one_more(self, name: str) -> Iterator[None]:
        if self._asking[name] >= self._section.predict_per_person:
            raise Unavailable(
                f"You have {self._asking[name]} predictions open, which is as many as one person may. Wait for an answer first."
            )
        self._asking[name] += 1
        try:
            yield
        finally:
            self._asking[name] -= 1
            self._asking += Counter()  # forgets who has none


def numbers(version: ModelVersion, question: Question, most_rows: int) -> dict[str, np.ndarray]:
    """Return the inputs as arrays in the units of the signature; the first axis counts samples."""
    specs = {spec.name: spec for spec in version.signature.inputs}
    wrong = sorted((set(question.inputs) | set(question.units)) - set(specs))
    missing = [name for name in specs if name not in question.inputs]
    if wrong or missing:
        said = f"has no input {', '.join(wrong)[:200]}" if wrong else f"needs {', '.join(missing)} too"
        raise InvalidInput(f"{version.reference} {said}. It takes: {', '.join(specs)}.")
    found = {name: _array(spec, question.inputs[name]) for name, spec in specs.items()}
    counts = {array.shape[0] for array in found.values() if array.ndim}
    if len(counts) > 1:
        lengths = ", ".join(f"{name} {len(array)}" for name, array in found.items() if array.ndim)
        raise InvalidInput(f"The inputs have different numbers of samples: {lengths}.")
    rows = counts.pop() if counts else 1
    if rows > most_rows:
        raise TooLarge(
            f"The question has {rows:,} samples; at most {most_rows:,} are answered at once. Send several."
        )
    for name, array in found.items():
        scale, zero = conversion(question.units.get(name), specs[name])
        scaled = array if (scale, zero) == (1.0, 0.0) else array * scale + zero
        found[name] = scaled if scaled.ndim else np.full((rows, *[1] * (len(specs[name].shape) - 1)), scaled)
    return found


def _array(spec: TensorSpec, given: Any) -> np.ndarray:
    try:
        array = np.asarray(given, dtype="float64")  # null becomes NaN
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{spec.name} is no number and no list of numbers of one shape.") from error
    if isinstance(given, str) or (array.ndim and array.dtype.kind != "f"):
        raise InvalidInput(f"{spec.name} is no number and no list of numbers.")
    axes = len(spec.shape)
    if array.ndim == 1 and axes > 1 and all(axis == 1 for axis in spec.shape[1:]):
        array = array.reshape(-1, *spec.shape[1:])
    if array.ndim not in (0, axes) or any(
        a is not None and a != b for a, b in zip(spec.shape[1:], array.shape[1:], strict=False)
    ):
        wanted = ", ".join("any" if axis is None else str(axis) for axis in spec.shape)
        raise InvalidInput(
            f"{spec.name} has the shape {array.shape}; the model takes ({wanted}), the first axis counts samples."
        )
    return array


def answer(entry: Entry, outputs: dict[str, np.ndarray], margins: dict[str, float]) -> dict[str, Any]:
    """Return what is sent back."""
    version, said = entry.version, entry.standing.deprecation
    found = dict(outputs)
    outside = found.pop("outside_domain", None)
    bounds = {
        name: {"lower": _plain(found[name] - half), "upper": _plain(found[name] + half)}
        for name, half in margins.items()
    }
    return {
        "model": version.reference,
        "artifact": version.artifact,
        "label": version.card.label,
        "outputs": {name: _plain(array) for name, array in found.items()},
        "units": {spec.name: spec.unit for spec in version.signature.outputs},
        "outside_domain": None if outside is None else outside.reshape(len(outside), -1).any(axis=1).tolist(),
        **({"intervals": bounds} if bounds else {}),
        "warning": said.warning(version.reference)
        if said
        else "It is retired."
        if entry.standing.stage == "retired"
        else None,
        "surrogate_of": version.card.surrogate_of or None,
    }


def _plain(array: np.ndarray) -> list[Any]:
    """Return lists for JSON, which has no NaN: null stands for it."""
    if np.isfinite(array).all():
        listed: list[Any] = array.tolist()
        return listed
    return [_missing(each) for each in array.tolist()]


def _missing(value: Any) -> Any:
    if isinstance(value, list):
        return [_missing(each) for each in value]
    return value if math.isfinite(value) else None
