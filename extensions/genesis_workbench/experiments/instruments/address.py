"""Where a laboratory's gateway is, and the token that it wants: files in the state folder for this account alone."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from genesis_workbench.core.errors import InvalidInput, Unavailable
from genesis_workbench.core.site import DeviceSection, LaboratorySection, Site
from genesis_workbench.core.state import State

SIMULATED = "simulated"


def simulated_laboratory(state: State) -> LaboratorySection:
    """Return the simulated laboratory that ships: a handler, a furnace and a spectrometer."""
    settings: dict[str, str | float | bool] = {"folder": str(folder(state, SIMULATED) / "twin")}
    devices = [
        DeviceSection(name=name, instrument=f"simulated_{name}", settings=settings)
        for name in ("handler", "furnace", "spectrometer")
    ]
    return LaboratorySection(
        name=SIMULATED, title="Simulated laboratory", procedures=["perovskite_film"], devices=devices
    )


def laboratories(site: Site, state: State) -> list[LaboratorySection]:
    """Return the site's laboratories, and the simulated one where its gateway was started here."""
    found = list(site.laboratories)
    if all(each.name != SIMULATED for each in found) and (folder(state, SIMULATED) / "address.json").exists():
        found.append(simulated_laboratory(state))
    return found


def folder(state: State, laboratory: str) -> Path:
    """Return the folder of a laboratory's gateway."""
    return state.laboratories / laboratory


def write_address(section: LaboratorySection, state: State, port: int) -> None:
    """Write down at which port of loopback the gateway listens."""
    draft = folder(state, section.name) / ".address.json.new"
    draft.write_text(json.dumps({"url": f"http://127.0.0.1:{port}"}))
    draft.replace(folder(state, section.name) / "address.json")


def url(section: LaboratorySection, state: State) -> str:
    """Return the address of a gateway; Unavailable where none was started."""
    if section.url:
        return section.url.rstrip("/")
    try:
        return str(json.loads((folder(state, section.name) / "address.json").read_bytes())["url"])
    except (OSError, ValueError, KeyError) as error:
        raise Unavailable(
            f"The gateway of {section.name!r} was never started here. Start it: workbench laboratory {section.name}."
        ) from error


def token(section: LaboratorySection, state: State, *, make: bool = False, others_may: bool = False) -> str:
    """Read the bearer token; the gateway makes one where the site names no file.

    Parameters
    ----------
    others_may : bool
        Read it though other accounts can read or write its file: for a stop, which is not refused for that.
    """
    path = (
        Path(section.token_file).expanduser() if section.token_file else folder(state, section.name) / "token"
    )
    if make and not section.token_file and not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    try:
        mode = path.stat().st_mode
        found = path.read_text().strip()
    except OSError as error:
        raise Unavailable(
            f"The token of the laboratory {section.name!r} cannot be read from {path}: {error.strerror}."
        ) from error
    if mode & 0o066 and not others_may:
        raise InvalidInput(
            f"The token in {path} can be read or written by other accounts (mode {mode & 0o777:o}), who could then start and "
            f"release devices. Run `chmod 600 {path}`, and give it a new token if somebody may have read it."
        )
    if len(found) < 32:
        raise InvalidInput(f"The token in {path} has {len(found)} characters; it needs at least 32.")
    return found
