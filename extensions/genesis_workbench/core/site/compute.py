"""Where jobs and Dask clusters run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from genesis_workbench.core.site._section import Section
from genesis_workbench.core.site.kubernetes import KubernetesQueueSection, KubernetesVolumeSection


class SlurmSection(Section):
    """Jobs and Dask workers as Slurm jobs."""

    programs: str = Field(
        "", description="Folder of sbatch, squeue and scancel where they are not on the PATH."
    )
    conf: str = Field("", description="Path of slurm.conf where it is not Slurm's own (SLURM_CONF).")
    options: list[str] = Field(
        default_factory=list, description="Options of sbatch for every job, such as '--constraint=cpu'."
    )
    prologue: list[str] = Field(
        default_factory=list, description="Shell lines before the command, such as 'module load python'."
    )
    container: list[str] = Field(
        default_factory=list,
        description="Words before the command of a job that names an image; '{image}' stands for it.",
    )
    poll_s: float = Field(2, gt=0, description="Seconds between two looks at the queue.")
    quota: list[str] = Field(
        default_factory=list,
        description="Words of a program that, run as the person, prints how many bytes their home holds and may hold, such as a script "
        "around 'lfs quota'; without one, `servers.home_bytes` and what the disk tells.",
    )
    spool: str = Field(
        "",
        pattern=r"^(|/.*\{person\}.*)$",
        description="Folder that belongs to the person and that all machines see, such as '/scratch/{person}': what people's servers "
        "start with and their logs lie there, so that one can start when a home takes nothing more; in the home where empty.",
    )


class KubernetesSection(Section):
    """Jobs and Dask workers as pods."""

    namespace: str = Field(
        "", description="Namespace of the pods; the notebook's own, or the context's, where empty."
    )
    context: str = Field(
        "", description="Context of the kubeconfig file, outside a pod; the current one where empty."
    )
    service_account: str = Field(
        "",
        description="Service account of the pods, whose token they never see; the namespace's where empty.",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When a node fetches the image."
    )
    image_pull_secrets: list[str] = Field(
        default_factory=list, description="Names of the secrets with which a node fetches the image."
    )
    user_id: int = Field(1000, gt=0, description="User that the pods run as; the notebook's own.")
    group_id: int = Field(1000, gt=0, description="Group that the pods run as.")
    jobs_claim: str = Field(
        "",
        description="Claim on which the folders of jobs lie, '{user}' for the person's name; the volume of the "
        "notebook's own pod where empty.",
    )
    jobs_path: str = Field("", description="Where the notebook has mounted that claim.")
    volumes: list[KubernetesVolumeSection] = Field(
        default_factory=list, description="Further claims that jobs and workers see."
    )
    queues: list[KubernetesQueueSection] = Field(
        default_factory=list, description="Kinds of machines; the first is the default."
    )
    job_memory_bytes: int = Field(2 * 2**30, gt=0, description="Memory of a job that names none.")
    gpu_resource: str = Field("nvidia.com/gpu", description="What the site calls an accelerator.")
    keep_finished_s: int = Field(
        86400,
        ge=0,
        description="Seconds after which Kubernetes forgets a job that has ended; its folder stays.",
    )
    poll_s: float = Field(2, gt=0, description="Seconds between two looks at the pods.")


class IriSection(Section):
    """Jobs at a facility that speaks the IRI Facility API."""

    name: str = Field("", description="What people call it: gw.submit(job, facility=name).")
    url: str = Field(
        "",
        description="Address of the facility's API without the version, such as 'https://api.example.gov/api'; '/api' "
        "is added to a bare host. It begins with https:// unless it is on loopback.",
    )
    version: Literal["v1", "v2"] = Field("v2", description="Version of the API.")
    resource: str = Field(
        "", description="Name or identifier of the compute resource; the only one where empty."
    )
    storage: str = Field(
        "", description="Name or identifier of the storage resource for files; the only one where empty."
    )
    folder: str = Field(
        "",
        description="Folder on that storage, as its machines see it too, in which each job gets one of its own; where "
        "empty, the facility is asked for the person's own (version 2).",
    )
    account: str = Field("", description="Account charged there; the site's where empty.")
    queue: str = Field("", description="Queue used there where none is asked for; the site's where empty.")
    token_file: str = Field(
        "",
        description="File that holds the bearer token, read at each request; '~' is the home of the person. The token "
        "itself is never in the site file.",
    )
    allow_private: bool = Field(
        False, description="Whether the facility may be at a private or loopback address."
    )
    prologue: list[str] = Field(
        default_factory=list, description="Shell lines before the command, such as 'module load python'."
    )
    launcher: str = Field(
        "srun", description="What starts a job of several processes, as the facility names it."
    )
    poll_s: float = Field(2, gt=0, description="Seconds between two looks at the same job.")


class ComputeSection(Section):
    """Where jobs and Dask workers run."""

    scheduler: str = Field(
        "local", description="Plug-in of the group `schedulers`: where jobs and workers go."
    )
    queue: str = Field("", description="Queue or partition used where none is asked for.")
    account: str = Field("", description="Account charged where none is named.")
    image: str = Field("", description="Image of jobs and workers, by digest.")
    python: str = Field("", description="Python of jobs and workers; the notebook's own where empty.")
    interface: str = Field(
        "", description="Network interface on which a Dask cluster listens; loopback where empty."
    )
    scratch: str = Field(
        "/tmp",  # noqa: S108 - Dask makes a folder of the account's own below it
        description="Folder on each machine for what workers spill.",
    )
    tls: bool = Field(
        True, description="Whether scheduler, workers and client speak TLS with their own certificates."
    )
    max_workers: int = Field(1000, gt=0, description="Most workers of one cluster.")
    worker_memory_bytes: int = Field(
        2 * 2**30, gt=0, description="Memory of a worker where none is asked for."
    )
    walltime_s: float = Field(3600, gt=0, description="Walltime of a worker where none is asked for.")
    idle_release_s: float = Field(
        600, gt=0, description="Seconds without work after which a cluster gives its workers back."
    )
    slurm: SlurmSection = Field(default_factory=SlurmSection)
    kubernetes: KubernetesSection = Field(default_factory=KubernetesSection)
    iri: IriSection = Field(default_factory=IriSection)
    facilities: list[IriSection] = Field(
        default_factory=list,
        description="Further facilities, each with a name, for jobs that name one. The site's account, queue and image "
        "are not theirs.",
    )
