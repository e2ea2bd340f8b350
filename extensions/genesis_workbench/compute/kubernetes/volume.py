"""The volume that the notebook and its jobs share, and the folder of it that one job sees."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genesis_workbench.compute.kubernetes import access
from genesis_workbench.compute.kubernetes.api import Kubernetes, Object
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import KubernetesSection

_SHARED = ("persistentVolumeClaim", "nfs")


@dataclass(frozen=True)
class Shared:
    """A folder on a volume.

    Attributes
    ----------
    volume : dict
        In Kubernetes' own form, without a name.
    path : Path
        The folder, as the notebook sees it.
    sub_path : str
        The same folder, from the volume's root.
    """

    volume: dict[str, Any]
    path: Path
    sub_path: str

    def mount(self, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return volume and mount of a folder below, at the path that the notebook knows it by."""
        below = folder.relative_to(self.path)
        within = "/".join(part for part in (self.sub_path, *below.parts) if part)
        return self.volume, {"mountPath": str(folder)} | ({"subPath": within} if within else {})


def own_pod(kubernetes: Kubernetes) -> Object | None:
    """Return the pod that this process runs in, or None outside of one and in another namespace than its jobs."""
    if not access.in_pod() or (access.ACCOUNT / "namespace").read_text().strip() != kubernetes.namespace:
        return None
    return kubernetes.get("pods", os.environ.get("POD_NAME") or socket.gethostname())


def shared_folder(kubernetes: Kubernetes, site: KubernetesSection, folder: Path) -> Shared:
    """Return on which volume a folder of the notebook lies: as the site says, or as the notebook's own pod shows.

    Raises
    ------
    InvalidInput
        If it lies on none that a pod can mount too.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - links stay as they are: the pod has none of them
    if site.jobs_claim:
        claim = site.jobs_claim.replace("{user}", os.environ.get("JUPYTERHUB_USER", ""))
        volume: dict[str, Any] = {"persistentVolumeClaim": {"claimName": claim}}
        return _below(volume, folder, Path(site.jobs_path or "/"), "")
    pod = own_pod(kubernetes)
    if pod is None:
        raise InvalidInput(
            f"Jobs' folders are in {folder}, and this notebook is no pod whose volumes could be asked for. Ask the operator "
            "to set compute.kubernetes.jobs_claim and jobs_path in the site file."
        )
    volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
    mounts = [
        mount
        for container in pod["spec"]["containers"]
        for mount in container.get("volumeMounts", [])
        if folder.is_relative_to(mount["mountPath"])
    ]
    if mounts:
        mount = max(mounts, key=lambda each: len(Path(each["mountPath"]).parts))
        volume = {kind: value for kind, value in volumes[mount["name"]].items() if kind in _SHARED}
        if volume and not mount.get("subPathExpr"):
            return _below(volume, folder, Path(mount["mountPath"]), mount.get("subPath", ""))
    raise InvalidInput(
        f"Jobs' folders are in {folder}, which lies on no volume that a job's pod can mount too. Put the state folder "
        "(GENESIS_STATE) on a claim, or ask the operator to set compute.kubernetes.jobs_claim and jobs_path."
    )


def _below(volume: dict[str, Any], folder: Path, mounted: Path, sub_path: str) -> Shared:
    if not folder.is_relative_to(mounted):
        raise InvalidInput(
            f"Jobs' folders are in {folder}, but the claim that this site names for them is mounted at {mounted}. Put the "
            "state folder (GENESIS_STATE) below it."
        )
    below = folder.relative_to(mounted)
    return Shared(volume, folder, "/".join(part for part in (sub_path.strip("/"), *below.parts) if part))
