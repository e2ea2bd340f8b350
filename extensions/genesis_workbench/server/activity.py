"""Whether a server is busy, and since when it is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psutil

from genesis_workbench.core import busy

_WRAPPER = "genesis_workbench.compute.schedulers.wrapper"
_READING = ("GET", "HEAD", "OPTIONS")


class Activity:
    """What a person does in one server.

    JupyterLab asks for kernels, terminals and files every few seconds for as long as a tab is open, and Jupyter Server counts
    each question as activity. Here counts what changes something, what a kernel or a terminal says, and what works.

    Parameters
    ----------
    settings : dict
        Settings of the server's web application.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._touched = datetime.now(UTC)

    def touch(self) -> None:
        """Note that the person does something now."""
        self._touched = datetime.now(UTC)

    def request(self, method: str, path: str, kind: str) -> None:
        """Note a request: one that changes something, or opens a file (`kind` is the ``type`` that it asks for)."""
        opens = "/api/contents/" in path and kind in ("file", "notebook")
        if method not in _READING or opens:
            self.touch()

    def last(self) -> datetime:
        """Return when the person, a kernel or a terminal last did something; now, where something works."""
        if self.busy():
            self.touch()
        kernels: datetime = self._settings["kernel_manager"].last_kernel_activity
        terminals: datetime = self._settings.get("terminal_last_activity", kernels)
        return max(self._touched, kernels, terminals)

    def busy(self) -> list[str]:
        """Return what works now, in words."""
        return sorted({*self._kernels(), *self._terminals(), *self._jobs(), *busy.heard()})

    def _kernels(self) -> Iterator[str]:
        manager = self._settings["kernel_manager"]
        for identifier in manager.list_kernel_ids():
            if getattr(manager.get_kernel(identifier), "execution_state", "") == "busy":
                yield "a running cell"

    def _terminals(self) -> Iterator[str]:
        manager = self._settings.get("terminal_manager")
        for terminal in (manager.terminals if manager else {}).values():
            try:
                children = psutil.Process(terminal.ptyproc.pid).children()
            except psutil.NoSuchProcess:
                continue
            if any(child.status() != psutil.STATUS_ZOMBIE for child in children):
                yield "a program in a terminal"

    def _jobs(self) -> Iterator[str]:
        """Jobs that notebooks of this server have started on this machine; they would end with it, or outlive their limits."""
        mine = os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "")
        for process in psutil.process_iter(["cmdline", "uids"]):
            words = process.info["cmdline"] or []
            if _WRAPPER in words and process.info["uids"].real == os.getuid():
                try:
                    if process.environ().get("JUPYTERHUB_SERVICE_PREFIX") == mine:
                        yield "a job on this machine"
                except psutil.Error:
                    continue
