"""What servers and jobs share on a Kubernetes cluster."""

from __future__ import annotations

from pydantic import Field

from genesis_workbench.core.site._section import Section


class KubernetesQueueSection(Section):
    """Machines that people ask for by the name of a queue."""

    name: str = Field(description="What people call it.")
    node_selector: dict[str, str] = Field(
        default_factory=dict, description="Labels of its machines; every machine where empty."
    )
    tolerations: list[dict[str, str]] = Field(
        default_factory=list,
        description="Taints of its machines that its pods accept, in Kubernetes' own form.",
    )
    priority_class: str = Field("", description="Priority class of its pods.")
    max_walltime_s: float | None = Field(
        None, gt=0, description="Longest walltime; no limit where not given."
    )


class KubernetesVolumeSection(Section):
    """A claim that jobs and workers see, such as a site's data."""

    claim: str = Field(description="Name of the claim in the namespace of the pods.")
    path: str = Field(description="Where it is mounted.")
    sub_path: str = Field("", description="Folder of it that is mounted; all of it where empty.")
    read_only: bool = Field(True, description="Whether it can only be read.")
