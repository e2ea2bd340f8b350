"""How this process reaches a Kubernetes API: as a pod with its service account, or by a kubeconfig file."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from genesis_workbench.core.errors import DeadlineExceeded, InvalidInput, Unavailable

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_EXEC_TIMEOUT_S = 60
_TOKEN_KEPT_S = 60  # the kubelet renews a service account's token long before it ends


@dataclass(frozen=True)
class Access:
    """Where the API is and what proves who asks.

    Attributes
    ----------
    url : str
        Without a trailing slash.
    verify : ssl.SSLContext
        Trusts the cluster's authority; carries the client's certificate where there is one.
    namespace : str
        Namespace where none is named.
    token : callable
        Returns the bearer token of now, empty where there is none.
    proxy : str or None
        What the kubeconfig names; variables of the environment do not count.
    """

    url: str
    verify: ssl.SSLContext
    namespace: str
    token: Callable[[], str]
    proxy: str | None = None


def find(context: str = "") -> Access:
    """Return the way that this place has: a service account inside a pod, else KUBECONFIG or ``~/.kube/config``.

    Raises
    ------
    Unavailable
        If there is neither.
    InvalidInput
        If the kubeconfig file cannot be used.
    """
    if not os.environ.get("KUBECONFIG") and in_pod():
        return _service_account()
    name = (os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())).split(os.pathsep)[0]
    path = Path(name)
    if not path.is_file():
        raise Unavailable(
            f"There is no Kubernetes here: this is no pod with a service account, and {name} does not exist. Let the "
            "operator mount the service account's token into notebooks, or set KUBECONFIG."
        )
    return _kubeconfig(path, context)


def in_pod() -> bool:
    """Whether this process is in a pod that may ask the API."""
    return (ACCOUNT / "token").is_file()


def _service_account() -> Access:
    # A hub that starts servers in its own pod does not hand these variables on.
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    trust = _context(ACCOUNT.joinpath("ca.crt").read_text())
    namespace = (ACCOUNT / "namespace").read_text().strip()
    return Access(f"https://{host}:{port}", trust, namespace, _file_token(ACCOUNT / "token"))


def _kubeconfig(path: Path, context: str) -> Access:
    import yaml

    try:
        config = yaml.safe_load(path.read_text())
        context = context or config["current-context"]
        chosen = _named(config, "contexts", "context", context)
        cluster = _named(config, "clusters", "cluster", chosen["cluster"])
        user = _named(config, "users", "user", chosen["user"])
        return Access(
            cluster["server"].rstrip("/"),
            _trust(cluster, user, path.parent),
            chosen.get("namespace") or "default",
            _token(user, path.parent),
            cluster.get("proxy-url"),
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise InvalidInput(
            f"The kubeconfig file {path} cannot be used: {why}. Check it with `kubectl config view`, or set "
            "compute.kubernetes.context."
        ) from error


def _named(config: dict[str, Any], many: str, one: str, name: str) -> dict[str, Any]:
    for each in config.get(many) or []:
        if each["name"] == name:
            found: dict[str, Any] = each[one]
            return found
    raise ValueError(f"there is no {one} {name!r} in it")


def _trust(cluster: dict[str, Any], user: dict[str, Any], folder: Path) -> ssl.SSLContext:
    if cluster.get("insecure-skip-tls-verify"):
        raise ValueError("insecure-skip-tls-verify is set; name the cluster's authority instead")
    authority = _content(cluster, "certificate-authority", folder)
    trust = _context(authority.decode() if authority else None)
    if cluster.get("tls-server-name"):
        raise ValueError("tls-server-name is not supported; use a server address that its certificate names")
    certificate, key = _content(user, "client-certificate", folder), _content(user, "client-key", folder)
    if certificate and key:
        with tempfile.NamedTemporaryFile() as file:  # Python reads a client's certificate from files only
            file.write(certificate + b"\n" + key)
            file.flush()
            trust.load_cert_chain(file.name)
    return trust


def _context(authority: str | None) -> ssl.SSLContext:
    trust = ssl.create_default_context(cadata=authority)
    # Authorities of many clusters lack the key usage that Python 3.13 began to insist on (kubernetes-client/python
    # #2394). What is signed, by whom and for which name is checked as before.
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return trust


def _content(section: dict[str, Any], name: str, folder: Path) -> bytes:
    if inline := section.get(f"{name}-data"):
        return base64.b64decode(inline, validate=True)
    return (folder / section[name]).read_bytes() if section.get(name) else b""


def _token(user: dict[str, Any], folder: Path) -> Callable[[], str]:
    if user.get("tokenFile"):
        return _file_token(folder / user["tokenFile"])
    if user.get("token"):
        return lambda: str(user["token"])
    if user.get("exec"):
        return _ExecToken(user["exec"])
    if user.get("auth-provider") or user.get("username"):
        raise KeyError(
            "its way to sign in is no longer used by Kubernetes; use a token, a certificate or exec"
        )
    return lambda: ""


def _file_token(path: Path) -> Callable[[], str]:
    kept: list[Any] = [0.0, ""]

    def read() -> str:
        if not kept[1] or time.monotonic() - kept[0] > _TOKEN_KEPT_S:
            kept[:] = [time.monotonic(), path.read_text().strip()]
        return str(kept[1])

    return read


class _ExecToken:
    """A token from the program that a kubeconfig names, asked again when it has ended."""

    def __init__(self, section: dict[str, Any]) -> None:
        self._command = [section["command"], *(section.get("args") or [])]
        self._variables = {each["name"]: each["value"] for each in section.get("env") or []}
        self._about = json.dumps(
            {"apiVersion": section["apiVersion"], "kind": "ExecCredential", "spec": {"interactive": False}}
        )
        self._token, self._until_s = "", 0.0

    def __call__(self) -> str:
        if time.time() >= self._until_s:
            self._ask()
        return self._token

    def _ask(self) -> None:
        environment = {**os.environ, **self._variables, "KUBERNETES_EXEC_INFO": self._about}
        try:
            done = subprocess.run(
                self._command, env=environment, capture_output=True, text=True, timeout=_EXEC_TIMEOUT_S, check=True
            )  # fmt: skip
            status = json.loads(done.stdout)["status"]
            self._token = status["token"]
        except subprocess.TimeoutExpired as error:
            raise DeadlineExceeded(
                f"{self._command[0]!r} gave no token within {_EXEC_TIMEOUT_S} s."
            ) from error
        except (OSError, subprocess.CalledProcessError, ValueError, KeyError) as error:
            raise Unavailable(
                f"{self._command[0]!r}, which the kubeconfig file names, gave no token. Run it by hand to see why.",
                detail=str(getattr(error, "stderr", "") or error),
            ) from error
        ends = status.get("expirationTimestamp")
        self._until_s = datetime.fromisoformat(ends).timestamp() - 60 if ends else time.time() + 600
