"""The process that the simulated devices live in: ``python -m ...simulated.twin FOLDER``. It outlives the gateway.

One line of JSON in, one out, over loopback. Port and secret are in ``twin.json`` in its folder, for this account alone.
"""

from __future__ import annotations

import argparse
import fcntl
import hmac
import json
import os
import secrets
import signal
import socket
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any

from genesis_workbench.core.errors import GenesisError
from genesis_workbench.experiments.instruments.simulated.world import World

MOST_BYTES = 1 << 20


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    world: World
    secret: str


class _Line(socketserver.StreamRequestHandler):
    timeout = 10

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)  # noqa: S101 - for the type checker
        try:
            asked = json.loads(self.rfile.readline(MOST_BYTES))
            if not hmac.compare_digest(str(asked.pop("secret", "")), server.secret):
                return
            if asked["do"] == "quit":
                threading.Thread(target=server.shutdown).start()
                return
            answer = {"answer": _call(server.world, str(asked.pop("do")), asked)}
        except GenesisError as error:
            answer = {"refused": error.message}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            answer = {"refused": f"The request cannot be read: {error}."}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


def _call(world: World, what: str, arguments: dict[str, Any]) -> Any:
    if what not in ("state", "start", "outcome", "stop", "release"):
        raise ValueError(f"there is nothing called {what!r}")
    return getattr(world, what)(**arguments)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        description="A simulated laboratory's devices, in a process of their own."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--time-scale", type=float, default=60.0, help="Simulated seconds in a second.")
    parser.add_argument("--failure-rate", type=float, default=0.02)
    parser.add_argument("--forgetful", action="store_true", help="Devices recognise no keys.")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (given.folder / "lock").open("w") as only_one:
        try:
            fcntl.flock(only_one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0  # the devices live already
        _serve(given)
    return 0


def quit_twin(folder: Path) -> None:
    """Switch the devices off; nothing where they are off."""
    try:
        where = json.loads((folder / "twin.json").read_bytes())
        with socket.create_connection(("127.0.0.1", where["port"]), timeout=5) as line:
            line.sendall(json.dumps({"secret": where["secret"], "do": "quit"}).encode() + b"\n")
            line.recv(1)  # until it has taken it
    except OSError:
        return


def serve(world: World, folder: Path) -> socketserver.TCPServer:
    """Return a server that listens and whose address is written down; the caller lets it serve."""
    server = _Server(("127.0.0.1", 0), _Line)
    server.world, server.secret = world, secrets.token_hex(32)
    _announce(folder, {"port": server.server_address[1], "secret": server.secret, "pid": os.getpid()})
    return server


def _serve(given: argparse.Namespace) -> None:
    world = World(
        given.folder,
        seed=given.seed,
        time_scale=given.time_scale,
        failure_rate=given.failure_rate,
        forgetful=given.forgetful,
    )
    server = serve(world, given.folder)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    with server:
        server.serve_forever(poll_interval=0.1)
    world.close()


def _announce(folder: Path, address: dict[str, Any]) -> None:
    draft = folder / ".twin.json.new"
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(address, file)
    draft.replace(folder / "twin.json")


if __name__ == "__main__":
    sys.exit(main())
