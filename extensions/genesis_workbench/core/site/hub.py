"""Where the workbench is reached."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from genesis_workbench.core.site._section import Section


class HubSection(Section):
    """Where the workbench is reached."""

    address: str = Field("127.0.0.1", description="Address that the proxy listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that the proxy listens on; 0 takes a free one.")
    public_url: str = Field(
        "",
        description="URL that people type, without a path; made from address and port where empty. It begins with https:// where "
        "`address` is not loopback.",
    )
    certificate_file: str = Field(
        "",
        description="Certificate, as PEM with those that vouch for it, with which the proxy speaks TLS: for the host of "
        "`public_url` and '*.<origin_domain>'. Empty on loopback, and where another proxy before it speaks TLS.",
    )
    key_file: str = Field("", description="File that holds its private key, mode 0600.")
    private_address: str = Field(
        "127.0.0.1",
        description="Address at which people's servers reach the hub and the service. Where they run in containers or on "
        "other machines, one of a network that only those see.",
    )
    private_name: str = Field(
        "",
        description="Name under which people's servers reach it where that is not `private_address`, such as that of a "
        "Kubernetes service; then `private_address` may be 0.0.0.0.",
    )
    hub_port: int = Field(
        0, ge=0, le=65535, description="Port of the hub there; 0 takes a free one, once, and keeps it."
    )
    service_port: int = Field(0, ge=0, le=65535, description="Port of the service there; likewise.")
    internal_tls: bool | Literal["auto"] = Field(
        "auto",
        description="Whether hub, proxy, service and people's servers speak TLS with each other and show certificates of this "
        "installation; 'auto': where servers are containers or batch jobs and `private_address` is not loopback. Not for "
        "servers on Kubernetes, whose network encrypts.",
    )
    origin_domain: str = Field(
        "localhost",
        description="Domain under which each person's server and each dashboard gets an origin of its own "
        "('alice--user.<domain>'). Empty turns sharing off: on one origin a shared page could act as its viewer.",
    )
