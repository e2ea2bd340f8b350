"""The one table of rights. The hub's roles, the service's checks and the reference page are made from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scope:
    """One right.

    Attributes
    ----------
    name : str
        ``custom:<noun>:<verb>``, as JupyterHub wants custom scopes.
    description : str
        What a person who holds it can do.
    everyone : bool
        Whether each signed-in person has it unless the site says otherwise.
    """

    name: str
    description: str
    everyone: bool = True


SCOPES: tuple[Scope, ...] = (
    Scope("custom:catalog:read", "Search the catalog and open datasets that one's labels allow"),
    Scope("custom:catalog:harvest", "Harvest sources into the catalog", everyone=False),
    Scope("custom:models:read", "Search the model zoo, load models and predict"),
    Scope(
        "custom:models:write",
        "Register models in the zoo, and move aliases, propose, retire or deprecate one's own",
        everyone=False,
    ),
    Scope(
        "custom:models:approve",
        "Approve versions that others registered; keep everybody's aliases, stages and deprecations",
        everyone=False,
    ),
    Scope("custom:training:read", "See one's own training runs from anywhere"),
    Scope(
        "custom:training:run",
        "Tell the service of one's own training runs, and stop and resume them from anywhere",
    ),
    Scope("custom:language:ask", "Ask the language models that the site has"),
    Scope("custom:experiments:read", "See one's own experiments and those shared with one's groups"),
    Scope("custom:experiments:run", "Launch, pause, resume and stop one's own experiments"),
    Scope("custom:experiments:approve", "Approve trials that need a person's approval", everyone=False),
    Scope("custom:laboratories:read", "See laboratories, their devices and what waits there"),
    Scope("custom:laboratories:stop", "Stop a laboratory in an emergency"),
    Scope(
        "custom:laboratories:operate",
        "End an emergency stop, say what became of an unknown plan, reserve devices",
        everyone=False,
    ),
    Scope("custom:dashboards:read", "Open dashboards that were shared with one"),
    Scope("custom:dashboards:share", "Publish dashboards and share them with one's groups"),
    Scope("custom:ledger:read", "Read and verify the whole ledger", everyone=False),
    Scope("custom:data:controlled", "See controlled data of one's groups", everyone=False),
    Scope("custom:data:export-controlled", "See export-controlled data of one's groups", everyone=False),
)

BY_NAME = {scope.name: scope for scope in SCOPES}
EVERYONE = tuple(scope.name for scope in SCOPES if scope.everyone)
