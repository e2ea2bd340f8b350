"""``python -m genesis_hub.inside MODULE ARGUMENTS``: the first steps of a person's server in a container.

It prepares the home as the person, so that the hub never writes into one, and becomes the server. Where the hub does not see the
home, it first says how full that is, and does not start in a full one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from genesis_hub import homes, resources, start
from genesis_hub.teams import is_team
from genesis_workbench.core.homes import RESCUE_VARIABLE, copy_tutorials, look


def main() -> None:
    """Copy the tutorials that are not there yet, then run the module."""
    rescue = RESCUE_VARIABLE in os.environ
    if limit := os.environ.get(homes.LIMIT_VARIABLE):
        home = look(Path.home(), int(limit), write=True)
        print(homes.report(home), flush=True)  # noqa: T201 - the hub reads it
        if home.full and not rescue:
            raise SystemExit(home.words)
    if not rescue:  # into a home that is full nothing is written
        copy_tutorials(resources.tutorials(), Path.home() / "tutorials")
    Path(os.environ["JUPYTER_RUNTIME_DIR"]).mkdir(mode=0o700, exist_ok=True)
    os.chdir(Path.home())
    lab = resources.lab_options(team=is_team(os.environ["JUPYTERHUB_USER"]))
    start.run(sys.argv[1], [*sys.argv[2:], *lab])


if __name__ == "__main__":
    main()
