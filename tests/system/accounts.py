"""Other accounts of this machine, with a Python and the workbench that they can run."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(
    "test", "__pycache__", "site-packages", "*.a", "ensurepip", "idlelib", "tkinter"
)


def shared_python(folder: Path) -> Path:
    """Copy this Python to where every account can run it: the one at hand may lie in a home that is closed to others.

    The packages stay where they are, named by a path file.
    """
    base, version = Path(sys.base_prefix), f"python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "bin").mkdir(parents=True)
    shutil.copy2(base / "bin" / version, folder / "bin" / version)
    shutil.copytree(base / "lib" / version, folder / "lib" / version, ignore=_LEFT_OUT, symlinks=True)
    for library in base.glob("lib/libpython*.so*"):
        shutil.copy2(library, folder / "lib" / library.name, follow_symlinks=False)
    python = folder / "bin" / version
    asked = [str(python), "-c", "import site; print(site.getsitepackages()[-1])"]  # distributions differ
    packages = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    packages.mkdir(exist_ok=True)
    places = [sysconfig.get_path("purelib"), str(ROOT / "hub_config"), str(ROOT / "extensions")]
    (packages / "workbench.pth").write_text("\n".join(places) + "\n")
    return python


class Account:
    """A local account with a home of its own below `folder`.

    Parameters
    ----------
    name : str
        One that every Debian has, such as ``games``.
    python : Path
        A Python that it can run.
    environment : dict
        Variables of all its processes.
    """

    def __init__(self, name: str, folder: Path, python: Path, environment: dict[str, str]) -> None:
        self.entry = pwd.getpwnam(name)
        self.name, self.python = name, python
        self.home = folder / name
        self.home.mkdir(mode=0o700)
        os.chown(self.home, self.entry.pw_uid, self.entry.pw_gid)
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "USER": name,
            "LOGNAME": name,
            # Its own library path leads to where it was copied from.
            "LD_LIBRARY_PATH": str(python.parent.parent / "lib"),
            "GENESIS_STATE": str(self.home / "state"),
            **environment,
        }

    def start(self, code: str, **variables: str) -> subprocess.Popen[str]:
        """Start a notebook's worth of Python."""
        return subprocess.Popen(
            [str(self.python), "-W", "ignore", "-c", code],
            env={**self._environment, **variables},
            cwd=self.home,
            user=self.entry.pw_uid,
            group=self.entry.pw_gid,
            extra_groups=[],
            umask=0o022,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str, timeout_s: float = 120, **variables: str) -> tuple[str, str]:
        """Run Python to its end and return what it printed and complained."""
        with self.start(code, **variables) as process:
            try:
                return process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise

    def write(self, name: str, text: str) -> Path:
        """Write a file that belongs to it."""
        path = self.home / name
        path.write_text(text)
        os.chown(path, self.entry.pw_uid, self.entry.pw_gid)
        return path
