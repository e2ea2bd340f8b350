"""Data and models: the ledger, the catalog and the model zoo."""

from __future__ import annotations

from pydantic import Field

from genesis_workbench.core.access import Label
from genesis_workbench.core.site._section import Section


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
