"""``python -m genesis_services api --port N``, ``... runner``, and ``... harvest`` behind `workbench harvest`."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from genesis_workbench.core import certificates, garbage
from genesis_workbench.core.errors import GenesisError


def main() -> None:
    """Run one of the two processes until it is ended, or one harvest."""
    parser = argparse.ArgumentParser(prog="python -m genesis_services", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    api = commands.add_parser("api", help="the REST API and the gate of dashboards")
    api.add_argument("--address", default="127.0.0.1", help="address to listen on")
    api.add_argument("--port", type=int, required=True, help="port on that address")
    api.add_argument("--callers", default="", help="authorities of those who may call there, by TLS")
    commands.add_parser("runner", help="advances experiments and harvests sources")
    once = commands.add_parser("harvest", help="harvests sources now")
    once.add_argument("sources", nargs="*")
    once.add_argument("--site", type=Path, required=True)
    once.add_argument("--state", type=Path, required=True)
    for option in ("--all", "--fresh", "--json", "--allow-private"):
        once.add_argument(option, action="store_true")
    arguments = parser.parse_args()
    garbage.collect_less()
    if arguments.command == "harvest":
        sys.exit(_harvest(arguments))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if arguments.command == "api":
        from genesis_services import listening
        from genesis_services.application import application

        tls = certificates.listening(arguments.callers) if arguments.callers else None
        listening.run(application(), arguments.address, arguments.port, tls)
    else:
        from genesis_services.runner import run

        run()


def _harvest(arguments: argparse.Namespace) -> int:
    from genesis_services import harvesting

    return harvesting.run(
        arguments.site,
        arguments.state,
        arguments.sources,
        all_sources=arguments.all,
        fresh=arguments.fresh,
        as_json=arguments.json,
        allow_private=arguments.allow_private,
    )


if __name__ == "__main__":
    try:
        main()
    except GenesisError as error:
        sys.exit(f"{error.message} {error.detail}".strip())
