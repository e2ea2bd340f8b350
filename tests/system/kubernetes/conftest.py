"""A real Kubernetes: the one that KUBECONFIG names, or one of plain processes where its start scripts are beside.

The notebook, jobs and workers run the user image. GENESIS_TEST_IMAGE names one that the nodes have or can fetch;
without it, it is built from this checkout, which takes minutes. Skips by naming what is missing, and fails instead
where REQUIRE_KUBERNETES=1.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from system.kubernetes.notebook import Kubectl, Notebook, prepare

REPOSITORY = Path(__file__).parents[3]
SCRIPTS = REPOSITORY.parent / "shared/kubernetes"
BUILT = "localhost/genesis-workbench/user:test"


def missing(reason: str) -> None:
    """Skip, or fail where a cluster is required."""
    if os.environ.get("REQUIRE_KUBERNETES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    """The cluster; one that was started here is stopped again."""
    if named := os.environ.get("KUBECONFIG"):
        yield Path(named)
        return
    if not (SCRIPTS / "up.sh").exists():
        missing("no Kubernetes: set KUBECONFIG to a cluster for tests")
    done = subprocess.run(
        [SCRIPTS / "up.sh"],
        env={**os.environ, "NODES": "2"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    found = re.search(r"export KUBECONFIG=(\S+)", done.stdout)
    if done.returncode or not found:
        missing(f"no Kubernetes: {(done.stderr or done.stdout).strip()[-300:]}; run its build.sh first")
    yield Path(found.group(1))
    subprocess.run([SCRIPTS / "down.sh"], check=True, timeout=60, capture_output=True)


@pytest.fixture(scope="session")
def images(kubeconfig: Path) -> tuple[str, str]:
    """The user image, on every node: its name with a tag, and with its digest."""
    if named := os.environ.get("GENESIS_TEST_IMAGE"):
        return named, named
    for program in ("podman", "mmdebstrap"):
        if not shutil.which(program):
            missing(
                f"no user image: set GENESIS_TEST_IMAGE, or apt-get install {program} so that it can be built"
            )
    if not (SCRIPTS / "load-image.sh").exists():
        missing("no user image: set GENESIS_TEST_IMAGE to one that the nodes can fetch")
    build = [sys.executable, str(REPOSITORY / "images/build.py"), "user", "--base-from-debian", "--tag=test"]
    subprocess.run(build, check=True, timeout=1500)
    archive = REPOSITORY / "build/images/user.tar"
    archive.unlink(missing_ok=True)
    save = ["podman", "save", "--format=oci-archive", "--uncompressed", "--output", str(archive), BUILT]
    subprocess.run(save, check=True, timeout=300)
    with tarfile.open(archive) as opened:
        index = opened.extractfile("index.json")
        assert index
        digest = json.load(index)["manifests"][0]["digest"]
    pinned = f"{BUILT.rpartition(':')[0]}@{digest}"
    subprocess.run([SCRIPTS / "load-image.sh", kubeconfig.parent, archive, pinned], check=True, timeout=600)
    archive.unlink()
    return BUILT, pinned


@pytest.fixture(scope="session")
def image(images: tuple[str, str]) -> str:
    """The user image by a name that nodes know."""
    return images[0]


@pytest.fixture(scope="session")
def pinned_image(images: tuple[str, str]) -> str:
    """The user image by its digest, as the hub wants it."""
    if "@sha256:" not in images[1]:
        missing(
            f"GENESIS_TEST_IMAGE is {images[1]!r}: people's servers need it by its digest, name@sha256:..."
        )
    return images[1]


@pytest.fixture(scope="session")
def kubectl(kubeconfig: Path) -> Iterator[Kubectl]:
    """A namespace of our own, gone afterwards."""
    # The one that came with the cluster first: an older one knows less.
    program = shutil.which("kubectl", path=str(kubeconfig.parent / "bin")) or shutil.which("kubectl")
    if not program:
        missing("kubectl is not installed")
    assert program
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(kubeconfig))
        for name in ("HTTPS_PROXY", "https_proxy"):
            patch.delenv(name, raising=False)
        kubectl = Kubectl(program, f"gw-test-{os.getpid()}")
        kubectl("create", "namespace", kubectl.namespace)
        try:
            prepare(kubectl)
            yield kubectl
        finally:
            kubectl("delete", "namespace", kubectl.namespace, "--wait=false")
            for kind in ("clusterrole", "clusterrolebinding"):
                for account in ("notebook", "hub"):
                    kubectl("delete", kind, f"{kubectl.namespace}-{account}-sees", "--ignore-not-found")


@pytest.fixture(scope="module")
def notebook(kubectl: Kubectl, image: str) -> Iterator[Notebook]:
    """A notebook for the tests of one file."""
    with Notebook(kubectl, image) as notebook:
        yield notebook
