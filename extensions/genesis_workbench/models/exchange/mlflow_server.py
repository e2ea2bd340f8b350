"""A registry of MLflow, over its REST API: versions come from it and go into it. MLflow itself is not needed.

The server must serve its artifacts (``mlflow server --serve-artifacts``, its default), so that its storage needs no keys here. Of
a version only plain files of its top folder are read, each with a limit; what they mean is the layout ``mlflow``'s business.
Source: MLflow REST API 2.0, and its artifact proxy under ``/api/2.0/mlflow-artifacts``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from genesis_workbench.core.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    PermissionRefused,
    TooLarge,
    Unavailable,
    VerificationFailed,
)
from genesis_workbench.core.identifiers import digest
from genesis_workbench.models.exchange import mlflow
from genesis_workbench.models.exchange._base import Incoming
from genesis_workbench.models.exchange._package import check_name
from genesis_workbench.models.formats._base import MAX_BYTES
from genesis_workbench.models.record import ModelVersion

MOST_FILES = 100
_API, _FILES = "/api/2.0/mlflow", "/api/2.0/mlflow-artifacts/artifacts"
_SERVED = "mlflow-artifacts"
_ARTIFACT = "genesis.artifact"
_EXPERIMENT = "genesis-workbench"
_TAKEN = "RESOURCE_ALREADY_EXISTS"
_TIMEOUT = httpx.Timeout(60, connect=5)


@dataclass(frozen=True)
class MlflowServer:
    """One server.

    Parameters
    ----------
    url : str
        Its address, such as ``https://mlflow.lab.example``.
    token_file : path, optional
        File with a bearer token, read at each request.
    """

    url: str
    token_file: Path | str | None = None

    def read(self, model: str, version: int | str) -> Incoming:
        """Read a registered version.

        Raises
        ------
        NotFound
            If there is none.
        InvalidInput
            If its artifacts are not served, or are no model that the zoo can run.
        VerificationFailed
            If the server names the hash of its artifact, and it is another one.
        """
        named = {"name": model, "version": str(version)}
        about = self._json("GET", "/model-versions/get", params=named)["model_version"]
        place = self._json("GET", "/model-versions/get-download-uri", params=named)["artifact_uri"]
        with tempfile.TemporaryDirectory() as folder:
            self._download(_served(place), Path(folder))
            found = mlflow.read(Path(folder))
        tags = {each["key"]: each["value"] for each in about.get("tags", [])}
        said = tags.get(_ARTIFACT)
        if said is not None and said != digest(found.artifact):
            raise VerificationFailed(
                f"{model} version {version} has an artifact with the hash {digest(found.artifact)}; the server's tag says {said[:80]}."
            )
        source = {
            **found.source,
            "server": self.url,
            "registered": f"{model}/{version}",
            "artifact_uri": place,
            **({"run_id": about["run_id"]} if about.get("run_id") else {}),
        }
        return replace(found, source=source)

    def write(self, version: ModelVersion, artifact: bytes, model: str) -> str:
        """Register a version there, as the next one of `model`; returns its number.

        Raises
        ------
        InvalidInput
            If its format has no place in MLflow.
        PermissionRefused
            If the server does not let this token.
        """
        run = self._run(version)
        place = f"{_served(run['artifact_uri'])}/model"
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder) / "model"
            mlflow.write(version, artifact, files)
            for path in sorted(files.iterdir()):
                self._send("PUT", f"{_FILES}/{place}/{path.name}", content=path.read_bytes())
        with suppress(Conflict):  # the name may be there already
            self._json(
                "POST", "/registered-models/create", json={"name": model, "description": version.card.title}
            )
        tags = {
            _ARTIFACT: version.artifact,
            "genesis.model": version.reference,
            "genesis.record": version.digest,
            "genesis.label": version.card.label,
        }
        body = {
            "name": model,
            "source": f"{_SERVED}:/{place}",
            "run_id": run["run_id"],
            "description": version.card.what_for,
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        made: str = self._json("POST", "/model-versions/create", json=body)["model_version"]["version"]
        self._json("POST", "/runs/update", json={"run_id": run["run_id"], "status": "FINISHED"})
        return made

    def _run(self, version: ModelVersion) -> dict[str, str]:
        """Make a run: a registry takes no version whose files are not a run's."""
        with suppress(Conflict):
            self._json("POST", "/experiments/create", json={"name": _EXPERIMENT})
        found = self._json("GET", "/experiments/get-by-name", params={"experiment_name": _EXPERIMENT})
        body = {
            "experiment_id": found["experiment"]["experiment_id"],
            "run_name": f"export of {version.reference}",
            "start_time": int(time.time() * 1000),
        }
        made: dict[str, str] = self._json("POST", "/runs/create", json=body)["run"]["info"]
        return made

    def _download(self, place: str, folder: Path) -> None:
        listed = self._send("GET", _FILES, params={"path": place}).json().get("files", [])
        files = [each for each in listed if not each.get("is_dir")]
        if len(files) > MOST_FILES:
            raise TooLarge(f"{place} has {len(files):,} files; at most {MOST_FILES} are taken.")
        room = MAX_BYTES
        for each in files:
            name = Path(check_name(each["path"])).name
            with (
                self._streamed(f"{_FILES}/{quote(place)}/{quote(name)}") as answer,
                (folder / name).open("wb") as file,
            ):
                for piece in answer.iter_bytes():
                    room -= len(piece)
                    if room < 0:
                        raise TooLarge(f"The files at {place} are larger than {MAX_BYTES:,} bytes together.")
                    file.write(piece)

    def _json(self, method: str, path: str, **sent: Any) -> Any:
        return self._send(method, _API + path, **sent).json()

    def _send(self, method: str, path: str, **sent: Any) -> httpx.Response:
        with self._streamed(path, method, **sent) as answer:
            answer.read()
            return answer

    @contextmanager
    def _streamed(self, path: str, method: str = "GET", **sent: Any) -> Iterator[httpx.Response]:
        token = Path(self.token_file).expanduser().read_text().strip() if self.token_file else ""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise InvalidInput(
                f"{self.url[:100]!r} is no address of a server. It begins with https:// or http://."
            )
        try:
            # The token follows no redirect and no proxy of the environment.
            with (
                httpx.Client(timeout=_TIMEOUT, trust_env=False, follow_redirects=False) as client,
                client.stream(method, self.url.rstrip("/") + path, headers=headers, **sent) as answer,
            ):
                if not answer.is_success:
                    answer.read()
                    raise _error(self.url, answer)
                yield answer
        except httpx.TimeoutException as error:
            raise DeadlineExceeded(
                f"The MLflow server {self.url} did not answer in time. Try again."
            ) from error
        except httpx.TransportError as error:
            raise Unavailable(f"The MLflow server {self.url} does not answer.", detail=str(error)) from error


def _served(place: str) -> str:
    parts = urlsplit(place)
    if parts.scheme != _SERVED:
        raise InvalidInput(
            f"The version's files are at {place[:200]}, which the server does not serve. Download them yourself, and import the "
            "folder with layout='mlflow'."
        )
    return check_name(parts.path.lstrip("/"))


def _error(url: str, answer: httpx.Response) -> Exception:
    try:
        told = answer.json()
    except ValueError:
        told = {}
    told = told if isinstance(told, dict) else {}
    message = (
        f"The MLflow server {url} answered {answer.status_code}: {str(told.get('message', ''))[:300]}".rstrip(
            ": "
        )
    )
    if told.get("error_code") == _TAKEN:
        return Conflict(message)
    if answer.status_code in (401, 403):
        return PermissionRefused(f"{message}. Give token_file=... with a token that may.")
    if answer.status_code == 404:
        return NotFound(message)
    return Unavailable(message) if answer.status_code >= 500 else InvalidInput(message)
