"""``python -m genesis_workbench.experiments verify EXPERIMENT``: what `workbench verify` runs in a process of its own."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from genesis_workbench.core.errors import GenesisError, NotFound
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import load_site
from genesis_workbench.core.state import State
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments.crate import verify_crate
from genesis_workbench.experiments.verification import Report, verify_in


def main(arguments: list[str] | None = None) -> int:
    """Verify and return the exit status: 0 where nothing fails, 1 where something does."""
    parser = argparse.ArgumentParser(prog="workbench")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("verify", help="Check an experiment from its events alone.")
    command.add_argument("experiment", help="Its identifier, or the folder of one that was exported.")
    command.add_argument("--state", type=Path, required=True)
    command.add_argument("--site", type=Path)
    command.add_argument("--known", default="")
    command.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        report = _report(given)
    except GenesisError as error:
        sys.stderr.write(f"workbench: {error.message}\n")
        return 1
    sys.stdout.write((json.dumps(report.as_dict()) if given.json else repr(report)) + "\n")
    return 0 if report.ok else 1


def _report(given: argparse.Namespace) -> Report:
    if Path(given.experiment).is_dir():
        return verify_crate(Path(given.experiment), known=given.known)
    state = State(given.state)
    url = state.ledger_url(load_site(given.site) if given.site else None)
    if url.startswith("sqlite") and not Path(url.removeprefix("sqlite:///")).exists():
        raise NotFound(f"There is no ledger in {given.state}. Name the workbench's folder with --state.")
    ledger = Ledger.open(url)
    try:
        report = verify_in(ledger, given.experiment, BlobStore(state.blobs), known=given.known)
    finally:
        ledger.close()
    if not report.experiment:
        raise NotFound(f"There is no experiment {given.experiment!r} in this ledger.")
    return report


if __name__ == "__main__":
    sys.exit(main())
