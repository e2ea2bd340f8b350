"""The state folder: everything a running workbench keeps, and where in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from genesis_workbench.core.site import Site

MADE_AGAIN = frozenset({"index", "verified", "logs", "run"})
"""What of the folder is made again where it is not there."""


@dataclass(frozen=True)
class State:
    """Paths below one folder. Only this class knows their names."""

    folder: Path

    @property
    def secrets(self) -> Path:
        """Tokens and keys of this installation (mode 0600)."""
        return self.folder / "secrets.json"

    @property
    def internal_tls(self) -> Path:
        """Authorities, keys and certificates of this installation's own processes (mode 0700)."""
        return self.folder / "internal-tls"

    @property
    def people(self) -> Path:
        """Names, password hashes and groups (mode 0600)."""
        return self.folder / "people.json"

    @property
    def hub_database(self) -> Path:
        """JupyterHub's own database."""
        return self.folder / "hub.sqlite"

    @property
    def blobs(self) -> Path:
        """Files by their SHA-256."""
        return self.folder / "blobs"

    @property
    def uploads(self) -> Path:
        """Files that people have begun to send, one folder for each person."""
        return self.folder / "uploads"

    @property
    def jobs(self) -> Path:
        """One folder for each job of the local scheduler."""
        return self.folder / "jobs"

    @property
    def training(self) -> Path:
        """One file for each training run of this person."""
        return self.folder / "training"

    @property
    def told_training(self) -> Path:
        """What the service was told of people's training runs: for each its last report and its curve."""
        return self.folder / "training-told"

    @property
    def laboratories(self) -> Path:
        """One folder for each laboratory whose gateway runs here."""
        return self.folder / "laboratories"

    @property
    def homes(self) -> Path:
        """One home folder for each person."""
        return self.folder / "homes"

    @property
    def groups(self) -> Path:
        """One folder for each group, which its people share."""
        return self.folder / "groups"

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.folder / "logs"

    @property
    def run(self) -> Path:
        """Lock, ports and process numbers of what runs now."""
        return self.folder / "run"

    def ledger_url(self, site: Site | None = None) -> str:
        """SQLAlchemy URL of the ledger: the site's, or a SQLite file in this folder."""
        if site is not None and site.ledger.url:
            return site.ledger.url
        return f"sqlite:///{self.folder / 'workbench.sqlite'}"
