"""``python -m genesis_hub.start MODULE ARGUMENTS``: runs the hub, or a person's server, without what it would wait for in vain.

jsonschema, with which Jupyter checks its events, looks for rfc3987-syntax for the two formats ``iri`` and ``iri-reference``. That
package compiles a grammar when it is imported, which is half of the processor time of a server's start, and nothing of Jupyter has
such a format. Without the package jsonschema does not check them.
"""

from __future__ import annotations

import os
import runpy
import sys

from genesis_workbench.core import certificates


def run(module: str, arguments: list[str]) -> None:
    """Become ``python -m module arguments``."""
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # what Python knows to be missing
    if certificates.KEY in os.environ:
        from jupyterhub.services import auth

        certificates.shared(auth)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2:])
