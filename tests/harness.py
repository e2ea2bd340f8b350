"""A whole workbench for tests: started as people start it, on a free port, and gone afterwards."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx
import psutil
from websockets.sync.client import connect

BIN = Path(sys.executable).parent
START_S = 90


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Return ports at which nobody listens now, each another one."""
    probes = [socket.create_server((address, 0)) for _ in range(count)]
    found = [each.getsockname()[1] for each in probes]
    for each in probes:
        each.close()
    return found


class Workbench:
    """`workbench up` in a process of its own.

    Attributes
    ----------
    state : Path
        Its state folder.
    public_url : str
        Where people sign in.
    passwords : dict
        Password of each person, by name.
    output : list of str
        What `workbench up` said.
    domain : str
        Below which each person has an origin.
    trusted : ssl.SSLContext or None
        What its certificate is checked against, where it speaks TLS.

    Parameters
    ----------
    enter : sequence of str
        The words before each of its commands, such as those that make it another account's.
    environment : dict, optional
        Variables of its processes instead of this one's.
    """

    def __init__(
        self,
        state: Path,
        site: Path | None = None,
        *,
        enter: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.state, self._site = state, site
        self._enter, self._environment = enter, environment
        self.public_url, self.domain = "", "localhost"
        self.trusted: ssl.SSLContext | None = None
        self.passwords: dict[str, str] = {}
        self.output: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self.process: subprocess.Popen[str] | None = None

    def start(self, port: int = 0) -> Self:
        """Start it and wait until people can sign in."""
        command = [
            *self._enter,
            str(BIN / "workbench"),
            "up",
            "--port",
            str(port),
            "--state",
            str(self.state),
        ]
        if self._site is not None:
            command += ["--site", str(self._site)]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**(self._environment or os.environ), "PYTHONWARNINGS": "default"},
        )
        self._lines = queue.Queue()  # in that of an earlier start its last words are left
        threading.Thread(target=self._read, args=(self.process, self._lines), daemon=True).start()
        deadline = time.monotonic() + START_S
        while "Ctrl-C" not in (line := self._next(deadline)):
            if " is at http" in line:
                self.public_url = line.split(" is at ")[1].strip()
            if "Sign in as" in line:
                words = line.split()
                self.passwords[words[3]] = words[7]
        return self

    def stop(self) -> None:
        """Press Ctrl-C, and check that nothing is left."""
        process, self.process = self.process, None
        if process is None:
            return
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        finally:
            left = [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
            for each in left:
                each.kill()
        if process.stdout:
            process.stdout.close()
        assert left == [], f"Ctrl-C left processes behind: {left}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(self, *arguments: str) -> str:
        """Run the command line on the same state and return what it prints."""
        command = [*self._enter, str(BIN / "workbench"), *arguments, "--state", str(self.state)]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env=self._environment
        ).stdout

    def add(self, name: str, *groups: str) -> None:
        """Add a person."""
        options = [word for group in groups for word in ("--group", group)]
        self.passwords[name] = self.run("users", "add", name, *options).partition("password ")[2].split()[0]

    def user_origin(self, name: str) -> str:
        """Origin of a person's servers."""
        return f"{self.public_url.partition(':')[0]}://{name}--user.{self.domain}:{self.port}"

    @property
    def port(self) -> int:
        """Port that people use."""
        return int(self.public_url.rpartition(":")[2])

    @property
    def service_url(self) -> str:
        """Address of the service, past the proxy."""
        ports = json.loads((self.state / "run/ports.json").read_text())
        return f"http://127.0.0.1:{ports['service']}/services/workbench"

    def processes(self) -> list[psutil.Process]:
        """Return the whole family."""
        assert self.process is not None
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def server(self, name: str) -> psutil.Process:
        """Return the process of a person's only server; among the family may be some that end at this moment."""
        home = str(self.state / "homes" / name)
        about = ((each, each.as_dict(["cmdline", "cwd"])) for each in self.processes())
        (found,) = (
            each
            for each, facts in about
            if facts["cwd"] == home and "singleuser" in " ".join(facts["cmdline"] or ())
        )
        return found

    def listening(self) -> list[tuple[psutil.Process, Any]]:
        """Return each process of the family with each address that it listens at; UDP sockets listen always."""
        found = []
        for process in self.processes():
            try:
                for each in process.net_connections("inet"):
                    if each.status == psutil.CONN_LISTEN or each.type is socket.SOCK_DGRAM:
                        found.append((process, each))
            except psutil.NoSuchProcess:  # it has just ended
                continue
        return found

    def program(self, word: str) -> psutil.Process:
        """Return the process of the family whose command line holds `word`, such as ``jupyterhub``."""
        for each in self.processes()[1:]:
            try:
                if any(word in part for part in each.cmdline()):
                    return each
            except psutil.NoSuchProcess:  # it ended, or waits to be buried
                continue
        raise LookupError(f"no process {word!r} now")

    def kill_hub(self) -> None:
        """Kill the hub, and wait until another one answers in its place."""
        old = self.program("jupyterhub")
        old.kill()
        page = f"{self.public_url}/hub/login"
        with self.client() as client:
            self.until(
                lambda: (
                    self.program("jupyterhub").pid != old.pid
                    and client.get(page).status_code == httpx.codes.OK
                )
            )

    def client(self, **options: Any) -> httpx.Client:
        """Return a client that finds its origins as browsers do."""
        return httpx.Client(
            transport=Loopback(verify=self.trusted or True), timeout=60, trust_env=False, **options
        )

    def until(self, true: Callable[[], Any], timeout_s: float = 60) -> Any:
        """Wait until `true` returns something true, and return it; a lost connection or process, or a way that leads round in circles, counts as not yet."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                if found := true():
                    return found
            except (httpx.TransportError, httpx.TooManyRedirects, LookupError):
                pass
            assert time.monotonic() < deadline, f"not within {timeout_s} s"
            time.sleep(0.2)

    def _read(self, process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.output.append(line)
            lines.put(line)
        lines.put("")

    def _next(self, deadline: float) -> str:
        try:
            line = self._lines.get(timeout=max(deadline - time.monotonic(), 0.1))
        except queue.Empty:
            self.stop()
            raise AssertionError(f"The workbench did not start within {START_S} s: {self.output}") from None
        if not line:
            raise AssertionError(f"The workbench ended at its start: {self.output}")
        return line


class Loopback(httpx.HTTPTransport):
    """Connects to 127.0.0.1 for ``*.localhost``, as browsers do; the Host header says which."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        if not request.url.host.endswith("localhost"):
            return super().handle_request(request)
        sent = httpx.Request(
            request.method,
            request.url.copy_with(host="127.0.0.1"),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": request.url.host},
        )
        return super().handle_request(sent)


class Browser:
    """Follows links and keeps cookies by host, as a browser does."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self.http = workbench.client(headers={"Sec-Fetch-Dest": "document"})

    def get(self, url: str, **options: Any) -> httpx.Response:
        """GET and follow redirects, over hosts too."""
        return self.http.get(url, follow_redirects=True, **options)

    def patient_get(self, url: str) -> httpx.Response:
        """GET, and load again while the page says that something is being started."""

        def answered() -> httpx.Response | None:
            answer = self.get(url)
            return None if 'http-equiv="refresh"' in answer.text else answer

        found: httpx.Response = self._workbench.until(answered, timeout_s=90)
        return found

    def sign_in(self, name: str, password: str) -> httpx.Response:
        """Fill in the form, without starting a server."""
        login = f"{self._workbench.public_url}/hub/login"
        self.get(login)
        fields = {"username": name, "password": password, "_xsrf": self.xsrf()}
        return self.http.post(f"{login}?next=/hub/home", data=fields, follow_redirects=True)

    def xsrf(self) -> str:
        """Return the hub's XSRF value that this browser holds."""
        held = [
            each.value
            for each in self.http.cookies.jar
            if each.name == "_xsrf" and each.domain == urlsplit(self._workbench.public_url).hostname
        ]
        return str(held[-1])

    def hub(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Call the hub's API as its pages do."""
        self.get(f"{self._workbench.public_url}/hub/home")
        url = urljoin(self._workbench.public_url, f"/hub/api/{path}")
        return self.http.request(method, url, headers={"X-XSRFToken": self.xsrf(), "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}, **options)  # fmt: skip

    def make_token(self, name: str, **body: Any) -> str:
        """Make an API token of a person."""
        answer = self.hub("POST", f"users/{name}/tokens", json=body)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return str(answer.json()["token"])

    def start_server(self, name: str) -> None:
        """Start a person's Lab and wait for it."""
        answer = self.hub("POST", f"users/{name}/server", json={})
        assert answer.status_code in (201, 202), answer.text
        self._workbench.until(
            lambda: self.hub("GET", f"users/{name}").json()["servers"].get("", {}).get("ready"), timeout_s=90
        )

    def close(self) -> None:
        """Close the connections."""
        self.http.close()


def run_in_kernel(workbench: Workbench, name: str, token: str, code: str) -> str:
    """Run code in a kernel of somebody's server, by their token, and return what it prints."""
    origin = workbench.user_origin(name)
    headers = {"Authorization": f"token {token}"}
    with workbench.client(headers=headers) as client:
        kernel = client.post(f"{origin}/user/{name}/api/kernels", json={"name": "python3"})
    assert kernel.status_code == 201, kernel.text
    message = {
        "header": {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": name, "session": "test", "version": "5.3",
                   "date": ""},
        "parent_header": {}, "metadata": {}, "channel": "shell", "buffers": [],
        "content": {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False},
    }  # fmt: skip
    printed = ""
    channel = f"{origin.replace('http', 'ws', 1)}/user/{name}/api/kernels/{kernel.json()['id']}/channels"
    loopback = socket.create_connection(("127.0.0.1", workbench.port), timeout=60)
    with connect(channel, sock=loopback, ssl=workbench.trusted, additional_headers=headers) as connection:
        connection.send(json.dumps(message))
        while True:
            got = json.loads(connection.recv(timeout=180))
            if got["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            if got["msg_type"] == "stream" and got["content"]["name"] == "stdout":
                printed += got["content"]["text"]
            if got["msg_type"] == "error":
                raise AssertionError("\n".join(got["content"]["traceback"]))
            if got["msg_type"] == "status" and got["content"]["execution_state"] == "idle":
                return printed
