"""The `workbench` command line."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from genesis_hub import resources
from genesis_hub.people import People
from genesis_workbench import __version__
from genesis_workbench.core.errors import GenesisError
from genesis_workbench.core.service import local_state
from genesis_workbench.core.site import Site, load_site
from genesis_workbench.core.state import State

app = typer.Typer(
    no_args_is_help=True, help="Run and look after a Genesis Workbench.", pretty_exceptions_enable=False
)
users = typer.Typer(no_args_is_help=True, help="Add and remove people and groups. Takes effect at once.")
app.add_typer(users, name="users")
images = typer.Typer(no_args_is_help=True, help="Build images, and see which machines have them.")
app.add_typer(images, name="images")
models = typer.Typer(
    no_args_is_help=True, help="Sign models offline, and collect artifacts that nothing needs."
)
app.add_typer(models, name="models")

StateOption = Annotated[Path | None, typer.Option("--state", help="Folder that keeps everything.")]
SiteOption = Annotated[Path | None, typer.Option("--site", help="Site file; the laptop's where not given.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(epilog="Example: workbench up --port 8010 --state /srv/workbench")
def up(
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    state: StateOption = None,
    site: SiteOption = None,
) -> None:
    """Start the workbench on this machine, until Ctrl-C."""
    from genesis_hub.supervisor import Supervisor

    file = (site or resources.site_file("laptop")).resolve()
    Supervisor.prepare(file, _state(state).folder.resolve(), port, lambda line: print(line, flush=True)).run()  # noqa: T201


@app.command(epilog="Example: workbench backup /backups/2026-05-04 --homes")
def backup(
    folder: Annotated[Path, typer.Argument(help="Folder to write; it must not be there yet.")],
    homes: Annotated[bool, typer.Option("--homes", help="With people's and groups' folders.")] = False,
    state: StateOption = None,
    site: SiteOption = None,
) -> None:
    """Copy everything that the workbench keeps, while it runs; the copy is a state folder that `up` starts."""
    from genesis_hub.backup import back_up

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as by Ctrl-C: nothing is left of what was begun
    back_up(
        load_site(site or resources.site_file("laptop")), _state(state), folder, homes=homes, say=typer.echo
    )


@app.command(epilog="Example: workbench validate my-site.toml")
def validate(site: Annotated[Path, typer.Argument(help="Site file.")]) -> None:
    """Check a site file."""
    load_site(site)
    typer.echo(f"{site} is valid.")


@app.command(epilog="Example: workbench version --json")
def version(as_json: JsonOption = False) -> None:
    """Print the version."""
    typer.echo(json.dumps({"version": __version__}) if as_json else __version__)


@app.command(epilog="Example: workbench doctor --json")
def doctor(state: StateOption = None, site: SiteOption = None, as_json: JsonOption = False) -> None:
    """Look at what breaks in the field, and say what to do."""
    from genesis_hub.doctor import examine

    checks = examine(load_site(site or resources.site_file("laptop")), _state(state))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks]))
    else:
        for check in checks:
            advice = f"\n{'':22}{check.advice}" if check.advice else ""
            typer.echo(f"{check.state.upper():5} {check.name:15} {check.found}{advice}")
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(1)


@app.command(epilog="Example: workbench harvest doe nasa-cmr; workbench harvest --all --json")
def harvest(
    source: Annotated[
        list[str] | None, typer.Argument(help="Names of sources; their states are listed where none.")
    ] = None,
    all_sources: Annotated[bool, typer.Option("--all", help="Harvest every source of the site.")] = False,
    fresh: Annotated[
        bool, typer.Option(help="Ask for everything from the start, whatever is known.")
    ] = False,
    allow_private: Annotated[
        bool, typer.Option(help="Sources may be at private addresses, such as on this machine.")
    ] = False,
    state: StateOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Harvest sources into the catalog now; exit status 1 where one failed."""
    file, folder = (site or resources.site_file("laptop")).resolve(), _state(state).folder.resolve()
    # In a process of its own: the hub's code does not import the catalog.
    command = [
        sys.executable,
        "-m",
        "genesis_services",
        "harvest",
        "--site",
        str(file),
        "--state",
        str(folder),
    ]
    chosen = {"--all": all_sources, "--fresh": fresh, "--allow-private": allow_private, "--json": as_json}
    command += [option for option, wanted in chosen.items() if wanted]
    raise typer.Exit(subprocess.run([*command, "--", *(source or [])], check=False).returncode)


@app.command(epilog="Example: workbench verify exp_01k5x2a7w3 --json")
def verify(
    experiment: Annotated[str, typer.Argument(help="Its identifier, or the folder of an exported one.")],
    known: Annotated[
        str,
        typer.Option(metavar="HASH", help="Of an event, written down earlier: it must be there still."),
    ] = "",
    state: StateOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute an experiment's decision again from the ledger, and check everything that leads to it."""
    # The engine runs in a process of its own: the hub's code imports nothing of it.
    file = (site or resources.site_file("laptop")).resolve()
    command = [sys.executable, "-m", "genesis_workbench.experiments", "verify"]
    options = ["--state", str(_state(state).folder.resolve()), "--site", str(file), f"--known={known}"]
    ended = subprocess.run(
        [*command, *options, *(["--json"] if as_json else []), "--", experiment], check=False
    )
    raise typer.Exit(ended.returncode)


@app.command(
    epilog="Examples: workbench laboratory --simulated --time-scale 600; workbench laboratory stop films --why smoke"
)
def laboratory(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[stop] [NAME]",
            help="Name in the site file, its only one where left out; with 'stop' before it, an emergency stop.",
        ),
    ] = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="A laboratory that does not exist, with its devices.")
    ] = False,
    time_scale: Annotated[float, typer.Option(help="Simulated seconds in a second.")] = 60.0,
    failure_rate: Annotated[
        float, typer.Option(min=0, max=1, help="How often a simulated device fails for a reason of its own.")
    ] = 0.02,
    seed: Annotated[int, typer.Option(help="Of the simulated devices' noise.")] = 0,
    why: Annotated[str, typer.Option(help="Of a stop, for everybody to see.")] = "said at its machine",
    state: StateOption = None,
    site: SiteOption = None,
) -> None:
    """Run the gateway of a laboratory until Ctrl-C, or stop one in an emergency; what its devices do goes on otherwise."""
    # The engine runs in a process of its own: the hub's code imports nothing of it.
    file = (site or resources.site_file("laptop")).resolve()
    command = [sys.executable, "-m", "genesis_workbench.experiments.instruments"]
    options = [
        "--state",
        str(_state(state).folder.resolve()),
        "--site",
        str(file),
        f"--time-scale={time_scale}",
        f"--failure-rate={failure_rate}",
        f"--seed={seed}",
        f"--why={why}",
    ]
    command += [*options, *(["--simulated"] if simulated else []), "--", *(words or [])]
    # In this one's place, so that whoever ends the command ends the gateway.
    os.execv(command[0], command)  # noqa: S606 - no shell is needed: nothing is one text


@users.command(epilog="Example: workbench users add alice --group solar")
def add(
    name: str,
    group: Annotated[list[str] | None, typer.Option(help="Group; may be given several times.")] = None,
    admin: Annotated[bool, typer.Option(help="Make an administrator.")] = False,
    state: StateOption = None,
) -> None:
    """Add a person and print their password, once."""
    password = _people(state).add(name, groups=tuple(group or ()), admin=admin)
    typer.echo(f"{name} can sign in with the password {password} (shown only now).")


@users.command("list", epilog="Example: workbench users list --json")
def list_people(as_json: JsonOption = False, state: StateOption = None) -> None:
    """Show who may sign in."""
    accounts = _people(state).all()
    if as_json:
        typer.echo(json.dumps([{"name": a.name, "groups": a.groups, "admin": a.admin} for a in accounts]))
        return
    table = Table("name", "groups", "administrator")
    for account in accounts:
        table.add_row(account.name, ", ".join(account.groups), "yes" if account.admin else "")
    Console().print(table)


@users.command(epilog="Example: workbench users remove alice")
def remove(name: str, state: StateOption = None) -> None:
    """Remove a person; their home folder stays."""
    _people(state).remove(name)
    typer.echo(f"{name} can no longer sign in. The home folder is kept.")


@users.command(epilog="Example: workbench users password alice")
def password(name: str, state: StateOption = None) -> None:
    """Give a person a new password and print it, once; browsers signed in with the old one are signed out within minutes.

    Their server and the tokens that they made themselves go on: those are ended on the page Tokens.
    """
    typer.echo(f"{name} can sign in with the password {_people(state).new_password(name)} (shown only now).")


@users.command(epilog="Example: workbench users groups alice --add solar --remove fusion")
def groups(
    name: str,
    add_to: Annotated[list[str] | None, typer.Option("--add", help="Group to join.")] = None,
    remove_from: Annotated[list[str] | None, typer.Option("--remove", help="Group to leave.")] = None,
    state: StateOption = None,
) -> None:
    """Put a person into groups and take them out of others."""
    account = _people(state).change_groups(name, add=tuple(add_to or ()), remove=tuple(remove_from or ()))
    typer.echo(f"{name} is in: {', '.join(account.groups) or 'no group'}.")


@images.command(
    "build",
    epilog="Example: workbench images build user --engine podman",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def build_images(context: typer.Context) -> None:
    """Build hub and user from this checkout; takes the options of images/build.py."""
    script = resources.build_script()
    raise typer.Exit(subprocess.run([sys.executable, str(script), *context.args], check=False).returncode)


@images.command("list", epilog="Example: workbench images list --site my-site.toml --json")
def list_images(site: SiteOption = None, as_json: JsonOption = False) -> None:
    """Show the workbench's images on every machine, by the identifier that the site file names."""
    from genesis_hub.images import listed

    found = asyncio.run(listed(_containers(site)))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found]))
        return
    for each in found:
        typer.echo(f"{each.node}  {each.name}  {each.size_bytes / 1e6:,.0f} MB  version {each.version}")
        typer.echo(f'    image = "{each.image}"')


@images.command("check", epilog="Example: workbench images check --site my-site.toml")
def check_images(site: SiteOption = None, as_json: JsonOption = False) -> None:
    """Check that every machine has every image that the site names, and that they can be used; exit status 1 if not."""
    from genesis_hub.images import checked

    verdicts = asyncio.run(checked(_containers(site)))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in verdicts]))
    else:
        for each in verdicts:
            typer.echo(f"{'FAIL' if each.fault else 'OK':5} {each.node}  {each.image}  {each.fault}")
    if any(each.fault for each in verdicts):
        raise typer.Exit(1)


@models.command(epilog="Example: workbench models collect --json; workbench models collect --delete")
def collect(
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete them; they are only listed otherwise.")
    ] = False,
    grace_hours: Annotated[float, typer.Option(min=1, help="What is younger is kept.")] = 168,
    state: StateOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the artifacts that no event of the ledger names, or delete them."""
    options = ["--grace-hours", str(grace_hours), *_where(state, site)]
    _models("collect", *(["--delete"] if delete else []), *(["--json"] if as_json else []), *options)


@models.command(epilog="Example: workbench models export bandgap@3 bandgap-3")
def export(reference: str, folder: Path, state: StateOption = None, site: SiteOption = None) -> None:
    """Write artifact and record of a version into a folder, to be signed where the key is."""
    _models("export", *_where(state, site), "--", reference, str(folder))


@models.command(epilog="Example: workbench models sign bandgap-3 --key site.pem --signature bandgap-3.sig")
def sign(
    folder: Path,
    key: Annotated[Path, typer.Option(help="Private key in PEM: elliptic curve P-256, P-384 or P-521.")],
    signature: Annotated[Path, typer.Option(help="File to write.")],
) -> None:
    """Sign an exported folder; needs no network and no workbench."""
    _models("sign", "--key", str(key), "--signature", str(signature), "--", str(folder))


@models.command(epilog="Example: workbench models attach bandgap@3 bandgap-3.sig --site my-site.toml")
def attach(reference: str, signature: Path, state: StateOption = None, site: SiteOption = None) -> None:
    """Attach a signature of a key that the site file trusts."""
    _models("attach", *_where(state, site), "--", reference, str(signature))


def main() -> None:
    """Run the command line: one sentence and exit status 1 where something fails."""
    try:
        app()
    except GenesisError as error:
        typer.echo(f"workbench: {error.message}", err=True)
        sys.exit(1)


def _state(folder: Path | None) -> State:
    return State(folder or local_state())


def _where(state: Path | None, site: Path | None) -> list[str]:
    file = (site or resources.site_file("laptop")).resolve()
    return ["--state", str(_state(state).folder.resolve()), "--site", str(file)]


def _models(*words: str) -> None:
    # The engine runs in a process of its own: the hub's code imports nothing of it.
    command = [sys.executable, "-m", "genesis_workbench.models", *words]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def _containers(site: Path | None) -> Site:
    return load_site(site or resources.site_file("containers"))


def _people(folder: Path | None) -> People:
    state = _state(folder)
    state.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return People(state.people)
