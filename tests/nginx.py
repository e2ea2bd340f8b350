"""A real nginx that speaks TLS before a workbench's proxy, in the very words of the guide."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest

from authority import Authority

GUIDE = Path(__file__).parents[1] / "docs/how-to/tls.md"
AROUND = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{guide}
}}
"""


def needed() -> str:
    """Return where nginx is. Skips by naming what is missing, and fails instead where REQUIRE_NGINX=1."""
    if found := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"):
        return found
    reason = "nginx is missing: apt-get install nginx-light"
    if os.environ.get("REQUIRE_NGINX") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


class Nginx:
    """Takes what comes by TLS to `public`, for a host and all below it, on to `inside`: ports of this machine's loopback."""

    def __init__(self, folder: Path, authority: Authority, host: str, public: int, inside: int) -> None:
        self._folder, self._public = folder, public
        found = re.search(r"```nginx\n(.*?)```", GUIDE.read_text(), re.DOTALL)
        assert found, f"{GUIDE} has no settings of nginx"
        guide = found[1]
        for theirs, ours in {
            "listen 443 ssl": f"listen 127.0.0.1:{public} ssl",
            "workbench.example.org": host,
            "/etc/nginx/workbench.crt": str(authority.certificate),
            "/etc/nginx/workbench.key": str(authority.key),
            "127.0.0.1:8000": f"127.0.0.1:{inside}",
        }.items():
            assert theirs in guide, theirs
            guide = guide.replace(theirs, ours)
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder, guide=guide))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [needed(), "-c", str(self._folder / "nginx.conf"), "-e", str(self._folder / "error.log")]
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self._public), timeout=5).close()
                return self
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    raise AssertionError((self._folder / "error.log").read_text()) from None
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        assert self._process
        self._process.terminate()
        self._process.wait(timeout=10)
