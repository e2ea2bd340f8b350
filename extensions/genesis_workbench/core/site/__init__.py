"""The site: one TOML file, its schema, one typed object. Nothing else reads files or the environment for settings.

Secrets are not in it: they come from the state folder or, on a site, from mounted files and the environment.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, model_validator

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site._section import Section
from genesis_workbench.core.site.compute import ComputeSection, IriSection, KubernetesSection, SlurmSection
from genesis_workbench.core.site.data import CatalogSection, LedgerSection, ModelsSection, SourceSection
from genesis_workbench.core.site.experiments import AgentSection, ExperimentsSection, LanguageSection
from genesis_workbench.core.site.hub import HubSection
from genesis_workbench.core.site.kubernetes import KubernetesQueueSection, KubernetesVolumeSection
from genesis_workbench.core.site.laboratories import DeviceSection, LaboratorySection
from genesis_workbench.core.site.people import LdapSection, OidcSection, PeopleSection
from genesis_workbench.core.site.servers import (
    ContainersSection,
    KubernetesServersSection,
    NodeSection,
    ProfileSection,
    ServersSection,
)

__all__ = [
    "SITE_VARIABLE",
    "AgentSection",
    "CatalogSection",
    "ComputeSection",
    "ContainersSection",
    "DeviceSection",
    "ExperimentsSection",
    "HubSection",
    "IriSection",
    "KubernetesQueueSection",
    "KubernetesSection",
    "KubernetesServersSection",
    "KubernetesVolumeSection",
    "LaboratorySection",
    "LanguageSection",
    "LdapSection",
    "LedgerSection",
    "ModelsSection",
    "NodeSection",
    "OidcSection",
    "PeopleSection",
    "ProfileSection",
    "Section",
    "ServersSection",
    "Site",
    "SlurmSection",
    "SourceSection",
    "load_site",
    "this_site",
]

SITE_VARIABLE = "GENESIS_SITE"
_WITH_TLS = ("container", "slurm")  # spawners that give people's servers certificates


class Site(Section):
    """One site, whole."""

    name: str = Field(description="Short name of the site.")
    title: str = Field("Genesis Workbench", description="What its pages are headed with.")
    hub: HubSection = Field(default_factory=HubSection)
    people: PeopleSection = Field(default_factory=PeopleSection)
    servers: ServersSection = Field(default_factory=ServersSection)
    ledger: LedgerSection = Field(default_factory=LedgerSection)
    catalog: CatalogSection = Field(default_factory=CatalogSection)
    compute: ComputeSection = Field(default_factory=ComputeSection)
    models: ModelsSection = Field(default_factory=ModelsSection)
    language: LanguageSection = Field(default_factory=LanguageSection)
    experiments: ExperimentsSection = Field(default_factory=ExperimentsSection)
    laboratories: list[LaboratorySection] = Field(
        default_factory=list, description="Robotic laboratories, each with a gateway of its own."
    )

    @property
    def public_url(self) -> str:
        """URL that people type, without a trailing slash."""
        scheme = "https" if self.hub.certificate_file else "http"
        return (self.hub.public_url or f"{scheme}://{self.hub.address}:{self.hub.port}").rstrip("/")

    @property
    def encrypted(self) -> bool:
        """Whether people reach it by TLS."""
        return self.public_url.startswith("https://")

    @property
    def internal_tls(self) -> bool:
        """Whether hub, proxy, service and people's servers speak TLS with each other."""
        if self.hub.internal_tls != "auto":
            return self.hub.internal_tls
        return self.servers.spawner in _WITH_TLS and not _is(self.hub.private_address, "is_loopback")

    @model_validator(mode="after")
    def _encrypts_to_people(self) -> Self:
        hub, encrypted = self.hub, self.encrypted
        if bool(hub.certificate_file) != bool(hub.key_file):
            raise ValueError("hub.certificate_file and hub.key_file belong together: name both, or neither")
        if hub.certificate_file and not encrypted:
            raise ValueError(
                f"hub.public_url is {self.public_url}, but the proxy speaks TLS: let it begin with https://"
            )
        if not encrypted and not _is(hub.address, "is_loopback"):
            raise ValueError(
                f"hub.address is {hub.address}, which others can reach, and {self.public_url} is not encrypted: passwords "
                "and tokens would travel in clear. Name hub.certificate_file and hub.key_file, or put a proxy that speaks "
                "TLS before it and set hub.public_url to its https:// address"
            )
        return self

    @model_validator(mode="after")
    def _encrypts_where_it_can(self) -> Self:
        spawner = self.servers.spawner
        if self.hub.internal_tls is True and spawner not in _WITH_TLS:
            why = {
                "kubernetes": "the workbench does not give certificates to pods; let the cluster's network encrypt",
                "local": "people's servers are processes of the hub's machine, and nothing leaves it",
            }
            raise ValueError(
                f"hub.internal_tls cannot be true where servers.spawner is {spawner!r}: {why[spawner]}"
            )
        if self.internal_tls and _is(self.hub.private_address, "is_unspecified"):
            raise ValueError(
                f"hub.private_address is {self.hub.private_address}, which no certificate can name: name one address of the "
                "hub's machine, or set hub.internal_tls to false where the network encrypts"
            )
        return self

    def at_port(self, port: int) -> Site:
        """Return the site as it is reached at `port`."""
        return self.model_copy(update={"hub": self.hub.model_copy(update={"port": port})})

    def origin(self, label: str, kind: Literal["user", "service", "dash"]) -> str:
        """Origin (scheme, host, port) of a person's servers, of the service, or of one dashboard.

        Parameters
        ----------
        label : str
            A DNS label: lower-case letters, digits and single hyphens.
        """
        if not self.hub.origin_domain:
            return self.public_url
        public = urlsplit(self.public_url)
        port = f":{public.port}" if public.port else ""
        return f"{public.scheme}://{label}--{kind}.{self.hub.origin_domain}{port}"


def _is(address: str, what: Literal["is_loopback", "is_unspecified"]) -> bool:
    """Tell what kind of address it is; a name is of none."""
    try:
        return bool(getattr(ipaddress.ip_address(address), what))
    except ValueError:
        return False


def this_site() -> Site:
    """Return the site that this process belongs to: the file that GENESIS_SITE names, or a laptop without settings.

    Raises
    ------
    InvalidInput
        If the file cannot be used.
    """
    path = os.environ.get(SITE_VARIABLE)
    return load_site(Path(path)) if path else Site(name="laptop")


def load_site(path: Path) -> Site:
    """Read and validate a site file.

    Raises
    ------
    InvalidInput
        Naming the file, the key and, for an unknown key, the nearest known one.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidInput(f"There is no site file {path}. Name one with --site.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The site file {path} is not valid TOML: {error}.") from error
    try:
        return Site.model_validate(values)
    except ValidationError as error:
        raise InvalidInput(f"The site file {path} cannot be used: " + "; ".join(_explain(error))) from error


def _explain(error: ValidationError) -> list[str]:
    lines = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            near = get_close_matches(str(fault["loc"][-1]), _known_keys(fault["loc"][:-1]), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else "see docs/reference/site.md"
            lines.append(f"unknown key {key!r} ({hint})")
        elif fault["type"] == "missing":
            lines.append(f"the key {key!r} is missing")
        elif fault["type"] == "value_error" and isinstance(fault["input"], dict):
            # A rule over several keys of a table names them itself, with what they are.
            lines.append(f"{key!r}: {fault['ctx']['error']}" if key else str(fault["ctx"]["error"]))
        else:
            lines.append(f"{key!r} is {fault['input']!r}: {fault['msg']}")
    return lines


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys allowed in the table at `location`."""
    section: Any = Site
    for part in location:
        if isinstance(part, int):
            continue
        annotation = section.model_fields[part].annotation
        section = next(iter(getattr(annotation, "__args__", ())), annotation)
    return list(section.model_fields)
