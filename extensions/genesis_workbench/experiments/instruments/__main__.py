"""``python -m genesis_workbench.experiments.instruments NAME``: the gateway process, as `workbench laboratory` runs it."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from genesis_workbench.core.errors import Conflict, GenesisError, InvalidInput, NotFound
from genesis_workbench.core.service import local_state
from genesis_workbench.core.site import LaboratorySection, Site, load_site, this_site
from genesis_workbench.core.state import State
from genesis_workbench.experiments.instruments import address
from genesis_workbench.experiments.instruments.application import application
from genesis_workbench.experiments.instruments.gateway import Gateway
from genesis_workbench.experiments.instruments.simulated.twin import quit_twin

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Devices go on by themselves."""
    parser = argparse.ArgumentParser(
        prog="workbench laboratory", description="Run the gateway of one laboratory."
    )
    parser.add_argument(
        "name", nargs="?", default="", help="Name in the site file; its only one where left out."
    )
    parser.add_argument(
        "--simulated", action="store_true", help="The simulated laboratory, with its devices."
    )
    parser.add_argument("--time-scale", type=float, default=60.0, help="Simulated seconds in a second.")
    parser.add_argument("--seed", type=int, default=0, help="Of the simulated devices' noise.")
    parser.add_argument("--site", type=Path)
    parser.add_argument("--state", type=Path)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        state = State((given.state or local_state()).resolve())
        site = load_site(given.site) if given.site else this_site()
        section = address.simulated_laboratory(state) if given.simulated else _named(site, given.name)
        serve(
            section,
            state,
            twin=["--time-scale", str(given.time_scale), "--seed", str(given.seed)]
            if given.simulated
            else None,
        )
    except GenesisError as error:
        sys.stderr.write(f"workbench: {error.message}\n")
        return 1
    return 0


def serve(section: LaboratorySection, state: State, *, twin: list[str] | None = None) -> None:
    """Run a gateway, and the simulated devices where options for them are given.

    The devices outlive a gateway that is killed, and are switched off by one that ends.
    """
    here = urlsplit(section.url or "http://127.0.0.1:0")
    if here.hostname not in _LOOPBACK:
        raise InvalidInput(
            f"A gateway listens on loopback only, not on {here.hostname}. Put a proxy with TLS before it for other machines."
        )
    gateway = Gateway(section, address.folder(state, section.name))
    token = address.token(section, state, make=True)
    config = uvicorn.Config(
        application(gateway, token), log_level="warning", access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)

    def end(*_: object) -> None:
        # Not an exception: one that is raised inside a callback is lost, and the process would go on for ever.
        server.should_exit = True

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, end)
    try:
        if twin is not None:
            _start_twin(address.folder(state, section.name) / "twin", twin)
        with socket.create_server((here.hostname, here.port or 0)) as listener:
            gateway.start()
            address.write_address(section, state, listener.getsockname()[1])
            sys.stdout.write(
                f"The laboratory {section.name} is at http://127.0.0.1:{listener.getsockname()[1]}\n"
            )
            sys.stdout.flush()
            server.run(sockets=[listener])
    finally:
        gateway.close()
        if twin is not None:
            quit_twin(address.folder(state, section.name) / "twin")


def _start_twin(folder: Path, options: list[str]) -> None:
    """Start the devices' process in a session of its own, unless it runs."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = [sys.executable, "-m", "genesis_workbench.experiments.instruments.simulated.twin", str(folder)]
    log = os.open(folder / "twin.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        subprocess.Popen(
            [*command, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    finally:
        os.close(log)


def _named(site: Site, name: str) -> LaboratorySection:
    known = [each.name for each in site.laboratories]
    if not name and len(known) > 1:
        raise Conflict(f"This site has several laboratories; name one of {', '.join(known)}.")
    for each in site.laboratories:
        if each.name == name or not name:
            return each
    raise NotFound(
        f"This site has no laboratory {name!r}. It has {', '.join(known) or 'none'}; `workbench laboratory --simulated` "
        "runs one that does not exist."
    )


if __name__ == "__main__":
    sys.exit(main())
