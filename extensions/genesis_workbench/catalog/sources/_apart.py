"""A large file of records, read in a process of its own: on the next core, while this one writes what came before.

Python runs one thread at a time, so that reading and writing half a million records in two threads take as long as one
after the other. What takes the memory or crashes the parser of a hostile file is then not the harvest's process either.

The file is the other process's standard input; pages come back as lines of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from typing import IO, Any

from genesis_workbench.catalog.dataset import Dataset, Rejected
from genesis_workbench.catalog.sources._base import Page
from genesis_workbench.core import garbage, plugins
from genesis_workbench.core.errors import GenesisError, InvalidInput, Unavailable
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

_ENDED_S = 5.0


def pages(section: SourceSection, file: IO[bytes], skipped: int, per_page: int) -> Generator[Page]:
    """Yield the pages of a file on disk.

    Parameters
    ----------
    section : SourceSection
        The source. Its class has a method ``read(file, skipped, per_page)`` that yields pages.
    file : file
        Open for reading bytes, on disk. Nobody else may read it meanwhile.
    skipped : int
        How many records came before.
    per_page : int
        Most records of a page.

    Raises
    ------
    InvalidInput
        As the source raises it.
    Unavailable
        If the process ended without having said why.
    """
    # Everybody on the machine sees the words of a command: not the address, which may hold a key.
    known = section.model_copy(update={"url": ""}).model_dump_json()
    command = [sys.executable, "-m", __name__, known, str(skipped), str(per_page)]
    file.seek(0)
    with subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, env=_environment()) as process:
        try:
            for line in process.stdout or ():
                if not line.endswith(b"\n"):
                    break  # it was ended in the middle of a page
                yield _page(json.loads(line))
            if process.wait(_ENDED_S):
                raise Unavailable(
                    f"The records of {section.name!r} could not be read: the process that read them ended with "
                    f"{process.returncode}. Does it have enough memory?"
                )
        finally:
            process.kill()


def _environment() -> dict[str, str]:
    """Return what the process needs of this one's surroundings: where Python is, and nothing of keys and tokens."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ}


def _page(told: dict[str, Any]) -> Page:
    if "refused" in told:
        raise InvalidInput(told["refused"], detail=told["detail"])
    records = [
        Dataset.model_validate_json(each) if isinstance(each, str) else Rejected(*each)
        for each in told["records"]
    ]
    return Page(records, told["cursor"], told["natives"])


def main() -> None:
    """Read the file on standard input and write its pages."""
    section = SourceSection.model_validate_json(sys.argv[1])
    garbage.collect_less()
    from genesis_workbench.catalog.opening import say_openable

    with Fetcher() as fetcher:
        source = plugins.load("sources", section.kind)(section, fetcher)
        try:
            for page in source.read(sys.stdin.buffer, int(sys.argv[2]), int(sys.argv[3])):
                _tell(
                    records=[
                        each.model_dump_json(exclude_defaults=True)
                        if isinstance(each, Dataset)
                        else [each.identifier, each.reason, each.native]
                        for each in map(say_openable, page.records)
                    ],
                    natives=page.natives,
                    cursor=page.cursor,
                )
        except GenesisError as error:
            _tell(refused=error.message, detail=error.detail)


def _tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what, separators=(",", ":")) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
