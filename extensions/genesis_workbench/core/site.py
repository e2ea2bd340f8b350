"""The site: one TOML file, its schema, one typed object. Nothing else reads files or the environment for settings.

Secrets are not in it: they come from the state folder or, on a site, from mounted files and the environment.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from genesis_workbench.core.access import Label
from genesis_workbench.core.errors import InvalidInput

SITE_VARIABLE = "GENESIS_SITE"
_WITH_TLS = ("container", "slurm")  # spawners that give people's servers certificates


class Section(BaseModel):
    """A table of the site file: unknown keys are errors, values do not change once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class HubSection(Section):
    """Where the workbench is reached."""

    address: str = Field("127.0.0.1", description="Address that the proxy listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port that the proxy listens on; 0 takes a free one.")
    public_url: str = Field(
        "",
        description="URL that people type, without a path; made from address and port where empty. It begins with https:// where "
        "`address` is not loopback.",
    )
    certificate_file: str = Field(
        "",
        description="Certificate, as PEM with those that vouch for it, with which the proxy speaks TLS: for the host of "
        "`public_url` and '*.<origin_domain>'. Empty on loopback, and where another proxy before it speaks TLS.",
    )
    key_file: str = Field("", description="File that holds its private key, mode 0600.")
    private_address: str = Field(
        "127.0.0.1",
        description="Address at which people's servers reach the hub and the service. Where they run in containers or on "
        "other machines, one of a network that only those see.",
    )
    private_name: str = Field(
        "",
        description="Name under which people's servers reach it where that is not `private_address`, such as that of a "
        "Kubernetes service; then `private_address` may be 0.0.0.0.",
    )
    hub_port: int = Field(
        0, ge=0, le=65535, description="Port of the hub there; 0 takes a free one, once, and keeps it."
    )
    service_port: int = Field(0, ge=0, le=65535, description="Port of the service there; likewise.")
    internal_tls: bool | Literal["auto"] = Field(
        "auto",
        description="Whether hub, proxy, service and people's servers speak TLS with each other and show certificates of this "
        "installation; 'auto': where servers are containers or batch jobs and `private_address` is not loopback. Not for "
        "servers on Kubernetes, whose network encrypts.",
    )
    origin_domain: str = Field(
        "localhost",
        description="Domain under which each person's server and each dashboard gets an origin of its own "
        "('alice--user.<domain>'). Empty turns sharing off: on one origin a shared page could act as its viewer.",
    )


class OidcSection(Section):
    """An OpenID Connect provider that says who somebody is and which groups they are in."""

    issuer: str = Field(
        "",
        description="Its address, below which '/.well-known/openid-configuration' is; https unless on loopback.",
    )
    ca_file: str = Field(
        "", description="Certificates that its certificate must come from; the system's where empty."
    )
    client_id: str = Field("", description="Name of this workbench at the provider.")
    client_secret_file: str = Field("", description="File that holds the secret that goes with it.")
    title: str = Field("your organisation", description="What the button says: 'Sign in with …'.")
    scopes: list[str] = Field(
        default_factory=lambda: ["openid", "profile", "email"], description="What is asked for."
    )
    name_claim: str = Field("preferred_username", description="Claim that becomes a person's name here.")
    groups_claim: str = Field(
        "groups", description="Claim that lists groups; dots lead inwards ('realm_access.roles')."
    )
    allowed_groups: list[str] = Field(
        default_factory=list, description="Groups that get in; whoever the provider knows where empty."
    )
    admin_groups: list[str] = Field(default_factory=list, description="Groups of administrators.")


class LdapSection(Section):
    """A directory that knows people, their passwords and their groups."""

    url: str = Field(
        "",
        description="Its address, 'ldaps://ldap.example.org'. With 'ldap://' the connection is encrypted by StartTLS before a "
        "word is said.",
    )
    ca_file: str = Field(
        "", description="Certificates that its certificate must come from; the system's where empty."
    )
    bind_dn: str = Field(
        "", description="Account of the directory that looks people and groups up; nobody where empty."
    )
    bind_password_file: str = Field("", description="File that holds its password, mode 0600.")
    people_base: str = Field("", description="Where people are, such as 'ou=people,dc=example,dc=org'.")
    name_attribute: str = Field("uid", description="Attribute that becomes a person's name here.")
    people_filter: str = Field("(objectClass=*)", description="What else must be true of them.")
    groups_base: str = Field("", description="Where groups are; nobody is in one where empty.")
    group_attribute: str = Field("cn", description="Attribute that becomes a group's name.")
    member_attributes: list[str] = Field(
        default_factory=lambda: ["member", "uniqueMember", "memberUid"],
        description="Attributes of a group that list its people, by their place in the directory or by their name.",
    )
    allowed_groups: list[str] = Field(
        default_factory=list, description="Groups that get in; whoever the directory knows where empty."
    )
    admin_groups: list[str] = Field(default_factory=list, description="Groups of administrators.")
    timeout_s: float = Field(5, gt=0, description="How long it may take to answer.")


class PeopleSection(Section):
    """Who gets in."""

    authenticator: Literal["people", "oidc", "ldap"] = Field(
        "people",
        description="'people': names and passwords kept by `workbench users`, only on loopback; 'oidc': an OpenID Connect "
        "provider; 'ldap': a directory.",
    )
    ldap: LdapSection = Field(default_factory=LdapSection)
    oidc: OidcSection = Field(default_factory=OidcSection)
    admins: list[str] = Field(default_factory=lambda: ["admin"], description="Names of the administrators.")


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


class LedgerSection(Section):
    """Where the ledger and the tables beside it are."""

    url: str = Field(
        "",
        description="SQLAlchemy URL, such as 'postgresql+psycopg://host/workbench'; a SQLite file in the state "
        "folder where empty. A password does not belong here: use PGPASSFILE.",
    )


class SourceSection(Section):
    """One place that the catalog harvests."""

    name: str = Field(description="Short name, unique in the site.")
    kind: str = Field(description="Plug-in of the group `sources` that speaks its protocol.")
    title: str = Field(description="What people call it.")
    agency: str = Field(description="Agency or organisation that answers for the data.")
    url: str = Field(
        "", description="Public address of its API; not needed for data that come with packages."
    )
    enabled: bool = Field(True, description="Whether it is harvested and shown.")
    label: str = Field("public", description="Access label of its records.")
    groups: list[str] = Field(default_factory=list, description="Groups that may see them where not public.")
    deadline_s: float = Field(30, gt=0, description="How long one harvest of it may take.")
    max_records: int = Field(1000, gt=0, description="How many records are taken at most.")
    max_pages: int = Field(10_000, gt=0, description="How many pages are read at most.")
    max_bytes: int = Field(
        2 * 2**30, gt=0, description="How many bytes its records may have in all, as the source gives them."
    )

    @property
    def access_label(self) -> Label:
        """The label as a value that can be compared."""
        return Label.parse(self.label)


class CatalogSection(Section):
    """What the catalog lists."""

    sources: list[SourceSection] = Field(default_factory=list, description="Where records come from.")
    harvest_every_s: float = Field(3600, gt=0, description="Seconds between two harvests of one source.")
    data_folders: list[str] = Field(
        default_factory=list, description="Folders whose files may be opened; no others are."
    )
    private_hosts: list[str] = Field(
        default_factory=list,
        description="Hosts ('name' or 'name:port') that data may be read from though they are not public.",
    )
    s3_endpoint: str = Field(
        "https://s3.amazonaws.com", description="Where 's3://bucket/key' is read, without keys, by path."
    )
    cube_folder: str = Field(
        "",
        description="Folder that keeps the references of cubes made from many files, for everybody who may write "
        "there; each person's own state folder where empty.",
    )
    meaning_model: str = Field(
        "",
        description="Folder of a sentence-embedding model (modules.json and model.safetensors), such as "
        "all-MiniLM-L6-v2: searches may then ask for what is near in meaning. They cannot where it is empty.",
    )
    max_read_bytes: int = Field(
        2**30, gt=0, description="Most bytes read from one remote dataset unless `max_bytes` asks for more."
    )


class ModelsSection(Section):
    """Where the zoo keeps artifacts, and whose signatures count."""

    store: str = Field(
        "",
        description="Where artifacts are kept: 's3://bucket/prefix', or a folder; the state folder where empty.",
    )
    s3_endpoint: str = Field(
        "",
        description="Address of the S3 service, such as 'https://objects.lab.example'; Amazon's where empty.",
    )
    s3_region: str = Field("us-east-1", description="Region of the bucket.")
    s3_credentials_file: str = Field(
        "",
        description="File with aws_access_key_id and aws_secret_access_key in the form of AWS' shared credentials; the "
        "environment (AWS_ACCESS_KEY_ID ...) where empty. The keys themselves are never in the site file.",
    )
    trusted_keys: list[str] = Field(
        default_factory=list,
        description="Public keys, in PEM, whose signatures of models count: elliptic curves P-256, P-384 and P-521.",
    )
    require_signature: bool = Field(
        False,
        description="Whether a model without the signature of a trusted key is refused when it is loaded.",
    )
    predict_rows: int = Field(
        100_000,
        gt=0,
        description="Most samples of one question to the prediction service, and of one run of a model.",
    )
    predict_waiting: int = Field(
        64, gt=0, description="Most questions that wait there at once; further ones are refused."
    )
    predict_per_person: int = Field(
        16, gt=0, description="Most questions of one person that are open there at once."
    )
    predict_deadline_s: float = Field(60, gt=0, description="Seconds that one run of a model may take there.")


class LanguageSection(Section):
    """Language models that the site runs elsewhere, passed on at api/language/v1 in OpenAI's protocol."""

    url: str = Field(
        "",
        description="Address of the service that has them, with its version, such as 'https://inference.lab.example/v1'; "
        "nothing is passed on where empty.",
    )
    key_file: str = Field(
        "",
        description="File (mode 0600) with the key that the service wants, read at each request; none where empty.",
    )
    key_header: Literal["Authorization", "X-Api-Key"] = Field(
        "Authorization", description="Header that carries the key: as a bearer token, or as it is."
    )
    models: list[str] = Field(
        default_factory=list, description="Models that may be asked; all of the service's where empty."
    )
    request_bytes: int = Field(2**20, gt=0, description="Most bytes of one question.")
    answer_bytes: int = Field(16 * 2**20, gt=0, description="Most bytes of one answer.")
    per_minute: int = Field(30, gt=0, description="Questions that one person may ask in a minute.")
    at_once: int = Field(4, gt=0, description="Questions of one person that are open at once.")
    silence_s: float = Field(
        120, gt=0, description="Seconds that the service may be silent before or within an answer."
    )


class AgentSection(Section):
    """A language model that may propose trials, behind a chat endpoint in the shape of OpenAI's. Off where `url` is empty."""

    url: str = Field(
        "",
        pattern=r"^(https?://.*)?$",
        description="Address of the endpoint without '/chat/completions', such as 'https://inference.example.gov/v1'.",
    )
    model: str = Field("", description="Name of the model there.")
    key_file: str = Field(
        "",
        description="File with the endpoint's key, mode 0600, read at each call; where empty, none is sent. The key itself is "
        "never in the site file, the ledger or a log.",
    )
    timeout_s: float = Field(60.0, gt=0, le=3600, description="Seconds that one call may take.")
    max_tokens: int = Field(4_000, gt=0, le=100_000, description="Most tokens of one reply.")
    input_price: float = Field(
        0.0, ge=0, description="Money for a million tokens of prompts, counted to the budget's money."
    )
    output_price: float = Field(0.0, ge=0, description="Money for a million tokens of replies.")
    currency: str = Field(
        "USD", pattern=r"^[A-Z]{3}$", description="ISO 4217 code of the currency of the prices."
    )


class ExperimentsSection(Section):
    """What experiments may use."""

    parallel_trials: int = Field(2, gt=0, description="Trials of one experiment that run at once.")
    max_trials: int = Field(10_000, gt=0, description="Most trials that one experiment may ask for.")
    own_code: bool = Field(
        False,
        description="Whether experiments may run people's own commands and functions: they run with the rights of the "
        "runner's account, so say yes only where people's servers have the same.",
    )
    agent: AgentSection = Field(
        default_factory=AgentSection, description="The language model of the proposer `agent`."
    )


class DeviceSection(Section):
    """One device of a laboratory."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,39}$", description="Name that plans use, such as 'furnace'."
    )
    instrument: str = Field(description="Plug-in of the group `instruments` that talks to it.")
    settings: dict[str, str | float | bool] = Field(
        default_factory=dict, description="What that plug-in needs, such as an address. No secrets."
    )
    limits: dict[str, tuple[float, float, str]] = Field(
        default_factory=dict,
        description="Narrower limits by 'action.parameter': lowest, highest, unit, such as [20, 300, 'degC'].",
    )
    interlocks: dict[str, str] = Field(
        default_factory=dict,
        description="Further conditions by action on readings, such as 'door == \"closed\" and handler_operations < 500'.",
    )


class LaboratorySection(Section):
    """One laboratory: its gateway and the devices that only the gateway talks to."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,39}$", description="Short name, unique in the site.")
    title: str = Field("", description="What people call it.")
    url: str = Field(
        "",
        description="Address of its gateway, such as 'http://127.0.0.1:8700'; where empty, the gateway takes a free port "
        "on loopback and writes it into the state folder.",
    )
    token_file: str = Field(
        "",
        description="File with the gateway's bearer token, read at each start; where empty, the gateway makes one in the "
        "state folder. The token itself is never in the site file.",
    )
    procedures: list[str] = Field(
        default_factory=list, description="Executors whose trials run here, such as 'perovskite_film'."
    )
    patience_s: float = Field(
        30, gt=0, description="Seconds that a device may be silent before what it ran counts as unknown."
    )
    devices: list[DeviceSection] = Field(default_factory=list, description="Its devices.")


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


class Site(Section):
    """One site, whole."""

    name: str = Field(description="Short name of the site.")
    title: str = Field("Genesis Workbench", description="What its pages are headed with.")
    hub: HubSection = Field(default_factory=HubSection)
    people: PeopleSection = Field(default_factory=PeopleSection)
    servers: ServersSection = Field(default_factory=ServersSection)
    ledger: LedgerSection = Field(default_factory=LedgerSection)
    catalog: CatalogSection = Field(default_factory=CatalogSection)
    compute: ComputeSection = Field(default_factory=ComputeSection)
    models: ModelsSection = Field(default_factory=ModelsSection)
    language: LanguageSection = Field(default_factory=LanguageSection)
    experiments: ExperimentsSection = Field(default_factory=ExperimentsSection)
    laboratories: list[LaboratorySection] = Field(
        default_factory=list, description="Robotic laboratories, each with a gateway of its own."
    )

    @property
    def public_url(self) -> str:
        """URL that people type, without a trailing slash."""
        scheme = "https" if self.hub.certificate_file else "http"
        return (self.hub.public_url or f"{scheme}://{self.hub.address}:{self.hub.port}").rstrip("/")

    @property
    def internal_tls(self) -> bool:
        """Whether hub, proxy, service and people's servers speak TLS with each other."""
        if self.hub.internal_tls != "auto":
            return self.hub.internal_tls
        return self.servers.spawner in _WITH_TLS and not _is(self.hub.private_address, "is_loopback")

    @model_validator(mode="after")
    def _encrypts_to_people(self) -> Self:
        hub, encrypted = self.hub, self.public_url.startswith("https://")
        if bool(hub.certificate_file) != bool(hub.key_file):
            raise ValueError("hub.certificate_file and hub.key_file belong together: name both, or neither")
        if hub.certificate_file and not encrypted:
            raise ValueError(
                f"hub.public_url is {self.public_url}, but the proxy speaks TLS: let it begin with https://"
            )
        if not encrypted and not _is(hub.address, "is_loopback"):
            raise ValueError(
                f"hub.address is {hub.address}, which others can reach, and {self.public_url} is not encrypted: passwords "
                "and tokens would travel in clear. Name hub.certificate_file and hub.key_file, or put a proxy that speaks "
                "TLS before it and set hub.public_url to its https:// address"
            )
        return self

    @model_validator(mode="after")
    def _encrypts_where_it_can(self) -> Self:
        spawner = self.servers.spawner
        if self.hub.internal_tls is True and spawner not in _WITH_TLS:
            why = {
                "kubernetes": "the workbench does not give certificates to pods; let the cluster's network encrypt",
                "local": "people's servers are processes of the hub's machine, and nothing leaves it",
            }
            raise ValueError(
                f"hub.internal_tls cannot be true where servers.spawner is {spawner!r}: {why[spawner]}"
            )
        if self.internal_tls and _is(self.hub.private_address, "is_unspecified"):
            raise ValueError(
                f"hub.private_address is {self.hub.private_address}, which no certificate can name: name one address of the "
                "hub's machine, or set hub.internal_tls to false where the network encrypts"
            )
        return self

    def at_port(self, port: int) -> Site:
        """Return the site as it is reached at `port`."""
        return self.model_copy(update={"hub": self.hub.model_copy(update={"port": port})})

    def origin(self, label: str, kind: Literal["user", "service", "dash"]) -> str:
        """Origin (scheme, host, port) of a person's servers, of the service, or of one dashboard.

        Parameters
        ----------
        label : str
            A DNS label: lower-case letters, digits and single hyphens.
        """
        if not self.hub.origin_domain:
            return self.public_url
        public = urlsplit(self.public_url)
        port = f":{public.port}" if public.port else ""
        return f"{public.scheme}://{label}--{kind}.{self.hub.origin_domain}{port}"


def _is(address: str, what: Literal["is_loopback", "is_unspecified"]) -> bool:
    """Tell what kind of address it is; a name is of none."""
    try:
        return bool(getattr(ipaddress.ip_address(address), what))
    except ValueError:
        return False


def this_site() -> Site:
    """Return the site that this process belongs to: the file that GENESIS_SITE names, or a laptop without settings.

    Raises
    ------
    InvalidInput
        If the file cannot be used.
    """
    path = os.environ.get(SITE_VARIABLE)
    return load_site(Path(path)) if path else Site(name="laptop")


def load_site(path: Path) -> Site:
    """Read and validate a site file.

    Raises
    ------
    InvalidInput
        Naming the file, the key and, for an unknown key, the nearest known one.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidInput(f"There is no site file {path}. Name one with --site.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The site file {path} is not valid TOML: {error}.") from error
    try:
        return Site.model_validate(values)
    except ValidationError as error:
        raise InvalidInput(f"The site file {path} cannot be used: " + "; ".join(_explain(error))) from error


def _explain(error: ValidationError) -> list[str]:
    lines = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            near = get_close_matches(str(fault["loc"][-1]), _known_keys(fault["loc"][:-1]), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else "see docs/reference/site.md"
            lines.append(f"unknown key {key!r} ({hint})")
        elif fault["type"] == "missing":
            lines.append(f"the key {key!r} is missing")
        elif fault["type"] == "value_error" and isinstance(fault["input"], dict):
            # A rule over several keys of a table names them itself, with what they are.
            lines.append(f"{key!r}: {fault['ctx']['error']}" if key else str(fault["ctx"]["error"]))
        else:
            lines.append(f"{key!r} is {fault['input']!r}: {fault['msg']}")
    return lines


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys allowed in the table at `location`."""
    section: Any = Site
    for part in location:
        if isinstance(part, int):
            continue
        annotation = section.model_fields[part].annotation
        section = next(iter(getattr(annotation, "__args__", ())), annotation)
    return list(section.model_fields)
