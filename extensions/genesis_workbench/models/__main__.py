"""``python -m genesis_workbench.models``: what `workbench models` runs in a process of its own."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from pathlib import Path

from genesis_workbench.core.access import CLEARANCE, Person
from genesis_workbench.core.errors import Conflict, GenesisError, NotFound
from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.site import Site, load_site
from genesis_workbench.core.state import State
from genesis_workbench.models import signing, store
from genesis_workbench.models.life import APPROVE
from genesis_workbench.models.uploads import KEPT_S, Uploads
from genesis_workbench.models.zoo import LocalZoo


def main(arguments: list[str] | None = None) -> int:
    """Do it and return the exit status."""
    given = _parser().parse_args(arguments)
    try:
        given.run(given)
    except GenesisError as error:
        sys.stderr.write(f"workbench: {error.message}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="workbench models")
    commands = parser.add_subparsers(required=True)
    collect = commands.add_parser("collect")
    collect.add_argument("--delete", action="store_true")
    collect.add_argument("--grace-hours", type=float, default=store.GRACE_S / 3600)
    collect.add_argument("--json", action="store_true")
    collect.set_defaults(run=_collect)
    export = commands.add_parser("export")
    export.add_argument("reference")
    export.add_argument("folder", type=Path)
    export.set_defaults(run=_export)
    sign = commands.add_parser("sign")
    sign.add_argument("folder", type=Path)
    sign.add_argument("--key", type=Path, required=True)
    sign.add_argument("--signature", type=Path, required=True)
    sign.set_defaults(run=_sign)
    attach = commands.add_parser("attach")
    attach.add_argument("reference")
    attach.add_argument("signature", type=Path)
    attach.set_defaults(run=_attach)
    for command in (collect, export, attach):
        command.add_argument("--state", type=Path, required=True)
        command.add_argument("--site", type=Path)
    return parser


def _collect(given: argparse.Namespace) -> None:
    site, state, ledger = _opened(given)
    try:
        blobs = store.artifacts(site, state)
        found = store.collect(ledger, blobs, grace_s=given.grace_hours * 3600, delete=given.delete)
    finally:
        ledger.close()
    begun = Uploads(state.uploads).collect(KEPT_S) if given.delete else []
    if given.json:
        told = {
            "deleted": given.delete,
            "unused": [{"digest": each.digest, "size_bytes": each.size_bytes} for each in found.unused],
            "young": found.young,
            "kept": found.kept,
            "uploads_forgotten": len(begun),
        }
        sys.stdout.write(json.dumps(told) + "\n")
        return
    for each in found.unused:
        sys.stdout.write(f"{each.digest}  {each.size_bytes:,} bytes\n")
    done = "deleted" if given.delete else "would be deleted (run it with --delete)"
    sys.stdout.write(
        f"{len(found.unused)} files that no event names, {found.unused_bytes:,} bytes: {done}. "
        f"{found.young} more are younger than {given.grace_hours:g} hours; {found.kept} are in use.\n"
    )


def _export(given: argparse.Namespace) -> None:
    if given.folder.exists():
        raise Conflict(f"{given.folder} is there already. Name a folder that is not.")
    site, state, ledger = _opened(given)
    try:
        zoo, operator = LocalZoo(ledger, store.artifacts(site, state)), _operator(ledger, given.reference)
        version = zoo.get(given.reference, operator)
        signing.write(version, zoo.artifact(version.artifact, operator), given.folder)
    finally:
        ledger.close()
    sys.stdout.write(f"{version.reference} is in {given.folder}.\n")


def _sign(given: argparse.Namespace) -> None:
    try:
        key = given.key.read_bytes()
    except OSError as error:
        raise NotFound(f"The key {given.key} cannot be read: {error.strerror}.") from error
    password = getpass.getpass("Password of the key: ").encode() if b"ENCRYPTED" in key else None
    given.signature.write_text(json.dumps(signing.sign(given.folder, key, password)), encoding="utf-8")
    sys.stdout.write(f"The signature is in {given.signature}. Attach it: workbench models attach\n")


def _attach(given: argparse.Namespace) -> None:
    try:
        bundle = json.loads(given.signature.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotFound(f"{given.signature} cannot be read as a signature.") from error
    site, state, ledger = _opened(given)
    try:
        zoo = LocalZoo(ledger, store.artifacts(site, state), trusted=site.models.trusted_keys)
        zoo.attach_signature(given.reference, bundle, _operator(ledger, given.reference))
    finally:
        ledger.close()
    sys.stdout.write(f"{given.reference} is signed.\n")


def _opened(given: argparse.Namespace) -> tuple[Site, State, Ledger]:
    site, state = load_site(given.site) if given.site else Site(name="laptop"), State(given.state)
    url = state.ledger_url(site)
    if url.startswith("sqlite") and not Path(url.removeprefix("sqlite:///")).exists():
        raise NotFound(f"There is no ledger in {given.state}. Name the workbench's folder with --state.")
    return site, state, Ledger.open(url)


def _operator(ledger: Ledger, reference: str) -> Person:
    """Return who runs the command line: they hold the files, so every label and group of this model is theirs to see."""
    stream = f"model/{reference.partition('@')[0]}@"
    groups = [event.body["card"]["groups"] for event in ledger.read(prefix=stream)]
    return Person(
        name=f"operator:{getpass.getuser()}",
        groups=frozenset(group for some in groups for group in some),
        scopes=frozenset({APPROVE, *CLEARANCE.values()}),
    )


if __name__ == "__main__":
    sys.exit(main())
