"""From the table of scopes to JupyterHub's roles."""

from __future__ import annotations

from typing import Any

from genesis_workbench.core.scopes import EVERYONE, SCOPES

SERVICE = "workbench"
SUPERVISOR = "supervisor"
CULLER = "culler"
STEWARDS = "stewards"
"""Group of those who keep data, models and ledger; administrators are in it."""


def custom_scopes() -> dict[str, dict[str, str]]:
    """Return the definitions that JupyterHub wants of scopes that are not its own."""
    return {scope.name: {"description": scope.description} for scope in SCOPES}


def roles() -> list[dict[str, Any]]:
    """Return the roles of everybody, of administrators and of the service, with the least that each needs."""
    return [
        {"name": "user", "scopes": ["self", f"access:services!service={SERVICE}", *EVERYONE]},
        {
            "name": "steward",
            "description": "Keeps the workbench's data, models and ledger",
            "scopes": [scope.name for scope in SCOPES if not scope.name.startswith("custom:data:")],
            "groups": [STEWARDS],
        },
        {
            "name": SUPERVISOR,
            "description": "`workbench up`: tells the hub that a proxy which was started again has forgotten its routes",
            "scopes": ["proxy"],
            "services": [SUPERVISOR],
        },
        {
            "name": CULLER,
            "description": "`workbench up`: ends idle servers that have stopped telling the hub anything",
            "scopes": [
                "list:users",
                "read:users:name",
                "read:users:groups",
                "read:servers",
                "delete:servers",
            ],
            "services": [CULLER],
        },
        {
            "name": "workbench-service",
            "description": "The API service: looks up people's groups, starts dashboards of their owners",
            "scopes": ["read:users:name", "read:users:groups", "read:servers", "servers"],
            "services": [SERVICE],
        },
    ]


def dashboard_token_scopes() -> list[str]:
    """Return what the token inside a dashboard may do: look, and end the dashboard when nobody does."""
    return [
        "users:activity!user",
        "delete:servers!server",
        *(scope for scope in EVERYONE if scope.endswith(":read")),
    ]


def server_token_scopes() -> list[str]:
    """Return what the token inside a person's server may do; what the person lacks is dropped at spawn."""
    own = [
        "users:activity!user",
        "access:servers!server",
        "delete:servers!server",
    ]  # it ends itself when idle
    return [*own, *(scope.name for scope in SCOPES)]
