"""What confines a container: the same for every server, sizes apart."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from genesis_workbench.core.errors import InvalidInput

USER = 1000
"""User and group of the image, and owner of the homes."""
_PINNED = re.compile(r"([^\s@]+@)?sha256:[0-9a-f]{64}")


def confinement(*, memory_bytes: int, cpu_cores: int, processes: int) -> dict[str, Any]:
    """Return the part of a container's HostConfig that takes rights away and sets limits."""
    return {
        "ReadonlyRootfs": True,
        "Tmpfs": {"/tmp": "rw,nosuid,nodev,mode=1777"},  # noqa: S108 - in the container; counts as its memory
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],  # the engine's own filter of system calls stays on
        "Memory": memory_bytes,
        "MemorySwap": memory_bytes,  # of both together: no swap
        "ShmSize": memory_bytes // 2,
        "NanoCpus": cpu_cores * 10**9,
        "PidsLimit": processes,
    }


def threads(cpu_cores: float) -> dict[str, str]:
    """Return the variable that keeps numerical libraries to the cores which a server may use.

    They count the machine's, and threads beyond what a limit grants wait for one another at each product of two matrices.
    """
    return {"OMP_NUM_THREADS": str(int(cpu_cores))}


def bind(source: Path, target: str, *, read_only: bool) -> dict[str, Any]:
    """Return the mount of a folder or file of the machine."""
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": read_only}


def owned(folder: Path, mode: int, owner: tuple[int, int] = (USER, USER)) -> Path:
    """Make a folder that the user of the image can write, where it is not there yet.

    Its parent is the hub's own: nobody else can put a link in its place. `owner` is the image's user and group, as the
    machine that runs it sees them.

    Raises
    ------
    InvalidInput
        If it cannot be made, or the hub's account cannot make it for another.
    """
    account = os.geteuid()
    try:
        folder.parent.mkdir(exist_ok=True, mode=0o711)
        if not folder.is_dir():
            if account not in (0, owner[0]):
                raise InvalidInput(
                    f"The folder {folder} cannot be made for user {owner[0]}, as which servers run, by a hub that runs as "
                    f"user {account}. Tell the operator: the hub must run as user {owner[0]} or as root."
                )
            folder.mkdir(mode=mode)
            folder.chmod(mode)
            if account == 0:
                os.chown(folder, *owner, follow_symlinks=False)
    except OSError as error:
        raise InvalidInput(
            f"The folder {folder} cannot be made ({error.strerror}). Tell the operator: servers.containers.folder must be "
            "writable for the hub."
        ) from error
    return folder


def pinned(image: str) -> str:
    """Return an image that is named by its digest; InvalidInput for a tag, which may be another image tomorrow."""
    if _PINNED.fullmatch(image):
        return image
    said = f"by the tag {image!r}" if image else "by nothing"
    raise InvalidInput(
        f"The image of this server is named {said}, not by its digest. Tell the operator: `workbench images list` prints it."
    )
