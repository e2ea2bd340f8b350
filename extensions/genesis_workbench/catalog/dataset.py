"""What the catalog knows of one dataset, whatever source it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from genesis_workbench.core.access import Access, Label
from genesis_workbench.core.identifiers import check_slug


class Distribution(BaseModel):
    """One way to get the data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str = Field("", description="Format in a word, such as 'hdf5' or 'csv'.")
    url: str = Field(description="Address; 'package://<package>/<path>' for a file of an installed package.")
    title: str = Field("", description="What the source calls it.")
    size_bytes: int | None = Field(None, ge=0, description="Size, where it is known.")
    checksum: str | None = Field(None, description="'sha256:<hex>' of the content, where it is known.")
    options: dict[str, Any] = Field(default_factory=dict, description="What the opener needs to know.")


class Dataset(BaseModel):
    """One record of the catalog."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(
        description="Unique name: '<source>.<local name>', or a short one for data that come along."
    )
    title: str = Field(description="Title.")
    description: str = Field("", description="What the data are.")
    source: str = Field(description="Name of the source that listed it.")
    agency: str = Field("", description="Agency or organisation that answers for the data.")
    keywords: list[str] = Field(default_factory=list, description="Keywords.")
    fields: list[str] = Field(
        default_factory=list,
        description="Fields of science; taken from its words where the source does not say.",
    )
    formats: list[str] = Field(default_factory=list, description="Formats of its distributions.")
    licence: str = Field("", description="Licence, as a name or an address.")
    citation: str = Field("", description="How its makers want to be cited.")
    landing_page: str = Field("", description="Page for people.")
    doi: str = Field("", description="Digital object identifier, without 'https://doi.org/'.")
    label: str = Field("public", description="Access label.")
    groups: list[str] = Field(default_factory=list, description="Groups that may see it where not public.")
    owner: str = Field("", description="Person who may see it whatever their groups, where not public.")
    access: str = Field("", description="What the publisher says about access to the data, where not open.")
    spatial: tuple[float, float, float, float] | None = Field(
        None, description="West, south, east, north in degrees; west > east across the date line."
    )
    temporal: tuple[str | None, str | None] | None = Field(None, description="Start and end, ISO 8601.")
    distributions: list[Distribution] = Field(default_factory=list, description="Ways to get the data.")
    modified: str = Field("", description="When it last changed, as the source says.")
    native_digest: str = Field("", description="SHA-256 of the record as the source gave it.")
    openable: bool = Field(False, description="Whether one call opens it here.")

    @field_validator("id")
    @classmethod
    def _id_is_slug(cls, value: str) -> str:
        return check_slug(value, "dataset")

    @field_validator("label")
    @classmethod
    def _label_is_known(cls, value: str) -> str:
        return str(Label.parse(value))

    @property
    def year(self) -> int | None:
        """Year of the last change, or else of the end of the period that it covers."""
        for text in (self.modified, self.temporal[1] if self.temporal else None):
            if text and text[:4].isdecimal() and text[:4].isascii():
                return int(text[:4])
        return None

    @property
    def access_rule(self) -> Access:
        """What it demands of those who look at it."""
        return Access(Label.parse(self.label), frozenset(self.groups), self.owner)


@dataclass(frozen=True)
class Rejected:
    """A record that cannot be listed, and why.

    Attributes
    ----------
    identifier : str
        What the source calls it; empty where it does not say.
    reason : str
        Why it cannot be listed.
    native : str
        The beginning of the record as the source gave it, to look at.
    """

    identifier: str
    reason: str
    native: str = ""
