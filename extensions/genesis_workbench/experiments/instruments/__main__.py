"""``python -m genesis_workbench.experiments.instruments NAME``: the gateway process, as `workbench laboratory` runs it.

``stop NAME`` instead is an emergency stop of one that runs, by whoever sits at its machine and may read its token.
"""

from __future__ import annotations

import argparse
import getpass
import logging
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from genesis_workbench.core.errors import Conflict, GenesisError, InvalidInput, NotFound, Unavailable
from genesis_workbench.core.service import local_state
from genesis_workbench.core.site import LaboratorySection, load_site, this_site
from genesis_workbench.core.state import State
from genesis_workbench.experiments.instruments import address
from genesis_workbench.experiments.instruments.application import application
from genesis_workbench.experiments.instruments.client import Client
from genesis_workbench.experiments.instruments.gateway import Gateway
from genesis_workbench.experiments.instruments.laboratories import not_confirmed
from genesis_workbench.experiments.instruments.simulated.twin import quit_twin

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Devices go on by themselves."""
    parser = argparse.ArgumentParser(
        prog="workbench laboratory", description="Run the gateway of one laboratory."
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="[stop] [NAME]",
        help="Name in the site file, its only one where left out; with 'stop' before it, an emergency stop.",
    )
    parser.add_argument("--why", default="said at its machine", help="Of a stop, for everybody to see.")
    parser.add_argument(
        "--simulated", action="store_true", help="The simulated laboratory, with its devices."
    )
    parser.add_argument("--time-scale", type=_positive, default=60.0, help="Simulated seconds in a second.")
    parser.add_argument("--seed", type=int, default=0, help="Of the simulated devices' noise.")
    parser.add_argument(
        "--failure-rate", type=_share, default=0.02, help="How often a simulated device fails, 0 to 1."
    )
    parser.add_argument("--site", type=Path)
    parser.add_argument("--state", type=Path)
    given = parser.parse_args(arguments)
    stops = given.words[:1] == ["stop"]
    if len(given.words) > 1 + stops:
        parser.error(f"one name of a laboratory was expected, not {' '.join(given.words[stops:])}")
    name = "".join(given.words[stops:])
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        state = State((given.state or local_state()).resolve())
        site = load_site(given.site) if given.site else this_site()
        if stops:
            return _stop(
                _named(address.laboratories(site, state), address.SIMULATED if given.simulated else name),
                state,
                given.why,
            )
        section = address.simulated_laboratory(state) if given.simulated else _named(site.laboratories, name)
        twin = {"time-scale": given.time_scale, "seed": given.seed, "failure-rate": given.failure_rate}
        options = [f"--{option}={value}" for option, value in twin.items()]
        serve(section, state, twin=options if given.simulated else None)
    except GenesisError as error:
        sys.stderr.write(f"workbench: {error.message}\n")
        return 1
    return 0


def serve(section: LaboratorySection, state: State, *, twin: list[str] | None = None) -> None:
    """Run a gateway, and the simulated devices where options for them are given.

    The devices outlive a gateway that is killed, and are switched off by one that ends.
    """
    with _listener(section) as listener:
        gateway = Gateway(section, address.folder(state, section.name))
        try:
            _serve(gateway, section, state, listener, twin)
        finally:
            gateway.close()
            if twin is not None:
                quit_twin(address.folder(state, section.name) / "twin")


def _serve(
    gateway: Gateway,
    section: LaboratorySection,
    state: State,
    listener: socket.socket,
    twin: list[str] | None,
) -> None:
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
    if twin is not None:
        _start_twin(address.folder(state, section.name) / "twin", twin)
    gateway.start()
    host, port = listener.getsockname()[:2]
    address.write_address(section, state, port)
    sys.stdout.write(
        f"The laboratory {section.name} is at http://{f'[{host}]' if ':' in host else host}:{port}\n"
    )
    sys.stdout.flush()
    server.run(sockets=[listener])


def _listener(section: LaboratorySection) -> socket.socket:
    """Return a socket that listens where the site says."""
    url = section.url or "http://127.0.0.1:0"
    try:
        host, port = urlsplit(url).hostname or "", urlsplit(url).port or 0
    except ValueError as error:
        raise InvalidInput(
            f"{url!r} is no address of a gateway: {error}. Write it like http://127.0.0.1:8700."
        ) from error
    if host not in _LOOPBACK:
        raise InvalidInput(
            f"A gateway listens on loopback only, not on {host or url!r}. Put a proxy with TLS before it for other machines."
        )
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise Unavailable(
            f"The gateway of {section.name!r} cannot listen at {url}: {error.strerror}. End what listens there, or give it "
            "another url in the site file."
        ) from error


def _stop(section: LaboratorySection, state: State, why: str) -> int:
    answer = Client(section, state).stop(_account(), why)
    said = ", ".join(f"{device} {words}" for device, words in answer["devices"].items())
    sys.stdout.write(
        f"The laboratory {section.name} is stopped: {said}. Nothing starts until somebody resets it.\n"
    )
    trouble = not_confirmed(answer)
    if trouble:
        sys.stderr.write(f"workbench: {trouble}\n")
    return 1 if trouble else 0


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return f"account {os.getuid()}"


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 1")
    return value


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


def _named(sections: Sequence[LaboratorySection], name: str) -> LaboratorySection:
    known = [each.name for each in sections]
    if not name and len(known) > 1:
        raise Conflict(f"This site has several laboratories; name one of {', '.join(known)}.")
    for each in sections:
        if each.name == name or not name:
            return each
    raise NotFound(
        f"This site has no laboratory {name!r}. It has {', '.join(known) or 'none'}; `workbench laboratory --simulated` "
        "runs one that does not exist."
    )


if __name__ == "__main__":
    sys.exit(main())
