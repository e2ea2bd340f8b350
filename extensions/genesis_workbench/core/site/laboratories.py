"""Robotic laboratories and their devices."""

from __future__ import annotations

from pydantic import Field

from genesis_workbench.core.site._section import Section


class DeviceSection(Section):
    """One device of a laboratory."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,39}$", description="Name that plans use, such as 'furnace'."
    )
    instrument: str = Field(description="Plug-in of the group `instruments` that talks to it.")
    settings: dict[str, str | float | bool] = Field(
        default_factory=dict, description="What that plug-in needs, such as an address. No secrets."
    )
    limits: dict[str, tuple[float, float, str]] = Field(
        default_factory=dict,
        description="Narrower limits by 'action.parameter': lowest, highest, unit, such as [20, 300, 'degC'].",
    )
    interlocks: dict[str, str] = Field(
        default_factory=dict,
        description="Further conditions by action on readings, such as 'door == \"closed\" and handler_operations < 500'.",
    )


class LaboratorySection(Section):
    """One laboratory: its gateway and the devices that only the gateway talks to."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,39}$", description="Short name, unique in the site.")
    title: str = Field("", description="What people call it.")
    url: str = Field(
        "",
        description="Address of its gateway, such as 'http://127.0.0.1:8700'; where empty, the gateway takes a free port "
        "on loopback and writes it into the state folder.",
    )
    token_file: str = Field(
        "",
        description="File with the gateway's bearer token, read at each start; where empty, the gateway makes one in the "
        "state folder. The token itself is never in the site file.",
    )
    procedures: list[str] = Field(
        default_factory=list, description="Executors whose trials run here, such as 'perovskite_film'."
    )
    patience_s: float = Field(
        30, gt=0, description="Seconds that a device may be silent before what it ran counts as unknown."
    )
    devices: list[DeviceSection] = Field(default_factory=list, description="Its devices.")
