"""`workbench images`: what the machines of a site have, and whether the site's servers can run from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from genesis_hub.spawners._confinement import pinned
from genesis_hub.spawners._engine import Engine
from genesis_workbench.core.errors import GenesisError, InvalidInput, NotFound
from genesis_workbench.core.site import NodeSection, Site

_TITLE = "org.opencontainers.image.title"
_VERSION = "org.opencontainers.image.version"
# Variables of a build that would tell every person where it was built, or with what right.
_TELLTALE = re.compile(r"(PASSWORD|SECRET|TOKEN|CREDENTIAL|INDEX_URL|PROXY)", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """An image of the workbench on one machine.

    Attributes
    ----------
    image : str
        Its identifier: what the site file names.
    """

    node: str
    name: str
    image: str
    version: str
    size_bytes: int


@dataclass(frozen=True)
class Verdict:
    """Whether one image of the site can be used on one machine; `fault` is empty where it can."""

    node: str
    image: str
    fault: str = ""


async def listed(site: Site) -> list[Found]:
    """Return the workbench's images on every machine of the site.

    Raises
    ------
    Unavailable
        If a machine does not answer.
    """
    found = []
    for node in site.servers.containers.nodes:
        for each in await _asked(node, "/images/json"):
            labels = each.get("Labels") or {}
            if str(labels.get(_TITLE, "")).startswith("Genesis Workbench"):
                name = (each.get("RepoTags") or ["(no name)"])[0]
                version = str(labels.get(_VERSION, ""))
                found.append(Found(node.name, name, _identifier(each["Id"]), version, int(each["Size"])))
    return found


async def checked(site: Site) -> list[Verdict]:
    """Look at every image that the site names, on every machine."""
    verdicts = []
    section = site.servers.containers
    images = sorted({profile.image or section.image for profile in site.servers.profiles})
    for image in images:
        for node in section.nodes:
            try:
                about = await _asked(node, f"/images/{pinned(image)}/json")
                faults = "; ".join(_faults(about))
            except InvalidInput as error:
                faults = error.message
            except NotFound:
                faults = "it is not on this machine: load it there (save and load of podman or docker)"
            except GenesisError as error:
                faults = error.message
            verdicts.append(Verdict(node.name, image or "(none)", faults))
    return verdicts


def _faults(about: dict[str, Any]) -> Iterator[str]:
    config = about.get("Config") or {}
    user = str(config.get("User", ""))
    if user.partition(":")[0] in ("", "0", "root"):
        yield f"it runs as {user or 'root'}: give it an ordinary user"
    for variable in config.get("Env") or []:
        name = variable.partition("=")[0]
        if _TELLTALE.search(name):
            yield f"it carries the variable {name}: build it without"


async def _asked(node: NodeSection, path: str) -> Any:
    engine = Engine(node.socket)
    try:
        return await engine.get(path)
    finally:
        await engine.close()


def _identifier(told: str) -> str:
    return told if told.startswith("sha256:") else f"sha256:{told}"
