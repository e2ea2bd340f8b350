"""What the zoo knows of one version of a model: what it takes, what it gives, what it is for, and how to test it."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from genesis_workbench.core.access import Access, Label
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.identifiers import check_slug, digest_json
from genesis_workbench.models.domain import Domain
from genesis_workbench.models.intervals import Intervals
from genesis_workbench.models.signature import Frozen, Signature, TensorSpec


class Metric(Frozen):
    """How well it did, on which data."""

    name: str = Field(min_length=1, description="Name, such as 'RMSE'.")
    value: float = Field(allow_inf_nan=False, description="Value.")
    unit: str = Field("", description="Unit; empty for pure numbers.")
    data: str = Field(min_length=1, description="On which data it was measured.")


class DatasetVersion(Frozen):
    """One version of a dataset that a model was trained on."""

    identifier: str = Field(min_length=1, max_length=500, description="Its identifier in the catalog.")
    version: str = Field(
        "", max_length=200, description="Its version, such as a date; empty where it has none."
    )
    digest: str = Field("", max_length=200, description="Hash of what was read, such as 'sha256:…'.")
    label: str = Field(
        "public", description="Access label; where a catalog knows a stricter one, that counts."
    )

    @field_validator("label")
    @classmethod
    def _label_is_known(cls, value: str) -> str:
        return str(Label.parse(value))

    @classmethod
    def of(cls, opened: Any) -> DatasetVersion:
        """Return which dataset it was that ``gw.open`` gave, from what it carries.

        Raises
        ------
        InvalidInput
            If it carries nothing.
        """
        told = getattr(opened, "attrs", None) or getattr(opened, "info", None)
        if not isinstance(told, Mapping) or not told.get("genesis_dataset"):
            raise InvalidInput(
                "These data do not say which dataset they are. Give what gw.open() returned, before it was changed, "
                "or DatasetVersion(identifier=...)."
            )
        return cls(
            identifier=str(told["genesis_dataset"]),
            version=str(told.get("version", "")),
            digest=str(told.get("checksum") or told.get("digest") or ""),
            label=str(told.get("label", "public")),
        )

    def __str__(self) -> str:
        return " ".join(filter(None, [self.identifier, self.version and f"({self.version})"]))


class ModelCard(Frozen):
    """What a person must know before they use a model."""

    title: str = Field(min_length=1, description="Title.")
    what_for: str = Field(min_length=1, description="What it is for.")
    trained_on: str = Field(
        min_length=1, description="What it was trained on, and whether that was measured."
    )
    datasets: tuple[DatasetVersion, ...] = Field(
        (), max_length=200, description="The versions of datasets that it was trained on."
    )
    metrics: tuple[Metric, ...] = Field((), description="How well it did.")
    limits: str = Field(min_length=1, description="Where it must not be used.")
    licence: str = Field(min_length=1, description="Licence, as an SPDX name or an address.")
    label: str = Field("public", description="Access label.")
    groups: tuple[str, ...] = Field((), description="Groups that may see it where not public.")
    contact: str = Field("", description="Who answers questions.")
    citation: str = Field("", description="How its makers want to be cited.")
    surrogate_of: str = Field("", description="Which simulator it imitates; empty where it imitates none.")

    @field_validator("label")
    @classmethod
    def _label_is_known(cls, value: str) -> str:
        return str(Label.parse(value))


class SelfTest(Frozen):
    """Inputs, and the outputs that every machine must get from them."""

    inputs: dict[str, list[Any]] = Field(min_length=1, description="Numbers for each input.")
    outputs: dict[str, list[Any]] = Field(min_length=1, description="Numbers expected of each output.")
    rtol: float = Field(
        1e-4, ge=0, le=0.1, description="Difference allowed, relative to the expected number."
    )
    atol: float = Field(1e-5, ge=0, allow_inf_nan=False, description="Difference allowed besides.")

    @field_validator("inputs", "outputs")
    @classmethod
    def _numbers_are_finite(cls, value: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for name, numbers in value.items():
            if not numbers or not all(math.isfinite(number) for number in _flat(numbers)):
                raise ValueError(f"{name}: the self-test needs finite numbers, and at least one.")
        return value


class ModelVersion(Frozen):
    """One version of a model. It never changes: a change is a new version."""

    name: str = Field(description="Name of the model.")
    version: int = Field(ge=1, description="Number of the version; counts from 1.")
    format: str = Field(description="Format of the artifact, such as 'onnx'.")
    artifact: str = Field(pattern=r"^sha256:[0-9a-f]{64}$", description="Digest of the artifact.")
    size_bytes: int = Field(ge=0, description="Size of the artifact.")
    signature: Signature = Field(description="What it takes and gives.")
    card: ModelCard = Field(description="What a person must know.")
    self_test: SelfTest = Field(description="What it must answer on every machine.")
    lineage: dict[str, Any] = Field(default_factory=dict, description="From which data and code it came.")
    domain: Domain | None = Field(None, description="Which inputs are like those that it was trained on.")
    intervals: Intervals | None = Field(None, description="How far it was off on held-out data.")
    owner: str = Field("", description="Who registered it; may see it, and alone may add versions.")

    @field_validator("name")
    @classmethod
    def _name_is_slug(cls, value: str) -> str:
        return check_slug(value, "model")

    @property
    def reference(self) -> str:
        """Name and version, such as ``clear-sky-irradiation@1``."""
        return f"{self.name}@{self.version}"

    @property
    def digest(self) -> str:
        """Digest of the whole record, the artifact's included: what an approval or a signature is about."""
        return digest_json(self.model_dump(mode="json", exclude_defaults=True))

    @property
    def access_rule(self) -> Access:
        """What it demands of those who look at it."""
        return Access(Label.parse(self.card.label), frozenset(self.card.groups), self.owner)

    def cite(self) -> str:
        """Return how to cite it, with the digest that names exactly this artifact, and the datasets it was trained on."""
        text = self.card.citation or self.card.title
        named = [" ".join(filter(None, [str(each), each.digest])) for each in self.card.datasets]
        trained = f" Trained on {'; '.join(named)}." if named else ""
        return f"{text.rstrip('.')}. Model {self.reference}, {self.format}, {self.artifact}.{trained}"

    def _repr_html_(self) -> str:
        e = html.escape
        card = self.card
        rows = [("for", card.what_for), ("trained on", card.trained_on), ("limits", card.limits)]
        if card.datasets:
            rows.insert(2, ("datasets", "; ".join(map(str, card.datasets))))
        if card.surrogate_of:
            rows.insert(0, ("surrogate of", card.surrogate_of))
        rows += [("takes", "; ".join(map(_line, self.signature.inputs)))]
        rows += [("gives", "; ".join(map(_line, self.signature.outputs)))]
        rows += [(m.name, f"{m.value:.3g} {m.unit} ({m.data})") for m in card.metrics]
        if self.domain:
            rows += [("domain", f"fitted to {self.domain.rows:,} training rows: predict(..., flag=True)")]
        if self.intervals:
            rows += [("intervals", f"from {self.intervals.rows:,} held-out rows: predict(..., interval=0.9)")]
        rows += [("licence", card.licence), ("access", card.label), ("artifact", self.artifact)]
        body = "".join(
            f'<tr><th style="text-align:left;vertical-align:top">{e(k)}</th><td style="text-align:left">{e(v)}</td></tr>'
            for k, v in rows
        )
        return f"<div><strong>{e(card.title)}</strong> <code>{e(self.reference)}</code><table>{body}</table></div>"


def _line(spec: TensorSpec) -> str:
    inside = spec.domain or spec.unit
    return f"{spec.name} ({inside})" if inside else spec.name


def _flat(numbers: list[Any]) -> list[float]:
    flat: list[float] = []
    for number in numbers:
        if isinstance(number, list):
            flat.extend(_flat(number))
        elif isinstance(number, int | float):
            flat.append(float(number))
        else:
            raise ValueError(f"{number!r} is no number.")  # noqa: TRY004 - pydantic turns ValueError into its own
    return flat
