"""People's servers: their kinds, and where they run."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from genesis_workbench.core.site._section import Section
from genesis_workbench.core.site.kubernetes import KubernetesVolumeSection


class ProfileSection(Section):
    """One kind of server that a person can start."""

    name: str = Field(description="Short name, unique in the site.")
    title: str = Field(description="What the page calls it.")
    description: str = Field("", description="One sentence for the person who chooses.")
    memory_bytes: int = Field(
        0, ge=0, description="Memory the server may use; 0 for no limit, or the queue's default."
    )
    cpu_cores: int = Field(0, ge=0, description="Processor cores of the server; 0 for no limit, or one.")
    walltime_s: float = Field(
        28800, gt=0, description="How long the server may run, where it is a batch job."
    )
    queue: str = Field(
        "", description="Queue or partition of the server's job; that of `compute` where empty."
    )
    image: str = Field("", description="Container image by digest, where the server runs in one.")
    accelerator: str = Field("", description="What the page says of its accelerator, such as '1 A100'.")
    accelerator_count: int = Field(0, ge=0, description="How many of them a pod gets.")
    groups: list[str] = Field(
        default_factory=list, description="Groups that may use it; empty for everybody."
    )
    collaboration: bool = Field(
        False,
        description="Whether this is a server of a team: each of `groups` has one, in which its people work on the same "
        "notebook at the same time.",
    )
    idle_s: float = Field(
        0, ge=0, description="Seconds without work after which the server ends; 0 lets it run on."
    )
    limits: dict[Literal["cpu_cores", "memory_bytes", "walltime_s"], tuple[float, float]] = Field(
        default_factory=dict,
        description="What the person may set, with the lowest and the highest, such as {cpu_cores = [1, 16]}; the values "
        "above are where the fields start.",
    )
    queues: list[str] = Field(
        default_factory=list, description="Queues that the person may choose from; the first is the default."
    )
    images: dict[str, str] = Field(
        default_factory=dict,
        description="Images that the person may choose from, by what the page calls them; the first is the default.",
    )

    @model_validator(mode="after")
    def _names_its_groups(self) -> Self:
        if self.collaboration and not self.groups:
            raise ValueError(
                "collaboration = true needs `groups`: each of them gets a server to work in together"
            )
        return self


class NodeSection(Section):
    """A machine that runs people's containers."""

    name: str = Field(description="What people and logs call it.")
    socket: str = Field(
        "/run/podman/podman.sock", description="Socket of its podman or docker, as the hub's machine sees it."
    )
    address: str = Field(
        "127.0.0.1",
        description="Its address on the network of hub and machines, where the proxy reaches the containers.",
    )
    reserve_bytes: int = Field(2 * 2**30, ge=0, description="Memory of it that containers leave alone.")


class ContainersSection(Section):
    """People's servers as containers of podman or docker."""

    nodes: list[NodeSection] = Field(
        default_factory=lambda: [NodeSection(name="here")], description="The machines."
    )
    image: str = Field(
        "",
        description="Image of the servers whose profile names none, by digest: 'name@sha256:…', or the image's own "
        "identifier 'sha256:…'. `workbench images list` prints it.",
    )
    folder: str = Field(
        "",
        description="Folder that every machine sees under this path: homes/ and groups/ are made in it; the state folder "
        "where empty.",
    )
    memory_bytes: int = Field(2 * 2**30, gt=0, description="Memory of a server whose profile says nothing.")
    cpu_cores: int = Field(1, gt=0, description="Processor cores of a server whose profile says nothing.")
    processes: int = Field(1024, gt=0, description="Most processes and threads of one server.")
    lost_after_s: float = Field(
        60, ge=0, description="Seconds without an answer after which a machine's servers are given up."
    )


class KubernetesServersSection(Section):
    """People's servers as pods."""

    namespace: str = Field("", description="Namespace of the pods; the hub's own where empty.")
    image: str = Field(
        "", description="Image of the servers whose profile names none, by digest: 'name@sha256:…'."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When a node fetches the image."
    )
    image_pull_secrets: list[str] = Field(
        default_factory=list, description="Names of the secrets with which a node fetches the image."
    )
    memory_bytes: int = Field(2 * 2**30, gt=0, description="Memory of a server whose profile says nothing.")
    cpu_cores: int = Field(1, gt=0, description="Processor cores of a server whose profile says nothing.")
    accelerator_resource: str = Field("nvidia.com/gpu", description="What the site calls an accelerator.")
    home_bytes: int = Field(
        10 * 2**30, gt=0, description="Size of a home's claim where `servers.home_bytes` says nothing."
    )
    storage_class: str = Field(
        "", description="Storage class of the homes; the cluster's default where empty."
    )
    site_config_map: str = Field(
        "",
        description="ConfigMap of the namespace that holds this file under the key 'site.toml', from which notebooks read what "
        "compute there is; they know none where empty.",
    )
    service_account: str = Field(
        "",
        description="Service account whose token every server sees; none where empty. Whoever may make pods can mount every "
        "claim and secret of the namespace, others' homes too.",
    )
    access_modes: list[str] = Field(
        default_factory=lambda: ["ReadWriteOnce"],
        description="Of the homes' claims; ReadWriteMany where a person may have several servers on several nodes.",
    )
    groups_claim: str = Field(
        "",
        description="Claim with a folder for each group, made where it is missing: a server sees those of its person's groups as "
        "'/groups/<group>'. ReadWriteMany where servers run on several nodes; groups share no folder where empty.",
    )
    volumes: list[KubernetesVolumeSection] = Field(
        default_factory=list, description="Further claims that every server sees, such as the site's data."
    )


class ServersSection(Section):
    """Where people's servers run."""

    spawner: Literal["local", "container", "slurm", "kubernetes"] = Field(
        "local",
        description="'local': processes on this machine; 'container': a container for each, on one or several machines; "
        "'slurm': batch jobs of the person; 'kubernetes': pods.",
    )
    kubernetes: KubernetesServersSection = Field(default_factory=KubernetesServersSection)
    containers: ContainersSection = Field(default_factory=ContainersSection)
    home_bytes: int = Field(
        0,
        ge=0,
        description="What the files of one home may take before no more servers start but the one for deleting; 0 for no limit. "
        "Where the file system has a project quota for each home, that counts.",
    )
    dashboard_idle_s: float = Field(
        3600,
        ge=0,
        description="Seconds after which a dashboard that nobody looks at ends, until the next who comes; 0 for never.",
    )
    become: list[str] = Field(
        default_factory=list,
        description="Words that run a program as '{person}', such as ['sudo', '-n', '-u', '{person}', '--']; none where "
        "everybody is the hub's own account.",
    )
    profiles: list[ProfileSection] = Field(
        default_factory=lambda: [ProfileSection(name="standard", title="Standard")],
        description="What people can choose from; one alone is started without asking.",
    )
    start_timeout_s: int = Field(60, gt=0, description="How long a server may take to start.")
