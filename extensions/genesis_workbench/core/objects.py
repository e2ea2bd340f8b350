"""Blobs in an S3 bucket, or in whatever speaks S3."""

from __future__ import annotations

import configparser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from genesis_workbench.core.errors import (
    InvalidInput,
    MissingDependency,
    NotFound,
    Unavailable,
    VerificationFailed,
)
from genesis_workbench.core.identifiers import digest as digest_of
from genesis_workbench.core.storage import Stored, key_of


class S3Blobs:
    """Blobs below a prefix of one bucket.

    Parameters
    ----------
    url : str
        ``s3://bucket/prefix``.
    endpoint : str
        Address of the service; Amazon's where empty.
    region : str
        Region of the bucket.
    credentials_file : str
        File in the form of AWS' shared credentials; the environment counts where empty.

    Raises
    ------
    InvalidInput
        If the address or the file cannot be read.
    MissingDependency
        If obstore is not installed.
    """

    def __init__(
        self, url: str, *, endpoint: str = "", region: str = "us-east-1", credentials_file: str = ""
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc:
            raise InvalidInput(f"{url!r} names no bucket. Write it like 's3://bucket/prefix'.")
        self._place = url.rstrip("/")
        self._obstore = _library()
        options: dict[str, Any] = {"region": region, **_credentials(credentials_file)}
        if endpoint:
            options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
        self._store = self._obstore.store.S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": "5s",
                "timeout": "120s",
            },
            retry_config={"max_retries": 3},
            **options,
        )

    def put(self, data: bytes) -> str:
        """Keep `data` and return its digest. It is written again where it is here: a bucket has no other way to say now."""
        name = digest_of(data)
        with self._words():
            self._obstore.put(self._store, key_of(name), data)
        return name

    def has(self, digest: str) -> bool:
        """Whether a blob is here."""
        key = key_of(digest)
        try:
            with self._words():
                self._obstore.head(self._store, key)
        except NotFound:
            return False
        return True

    def read(self, digest: str) -> bytes:
        """Read a blob and compare it with its digest."""
        key = key_of(digest)
        with self._words():
            data = bytes(self._obstore.get(self._store, key).bytes())
        if digest_of(data) != digest:
            raise VerificationFailed(
                f"The object {digest} in {self._place} has other content than its name says: it was changed or is damaged. "
                "Delete it and register it again from its origin."
            )
        return data

    def delete(self, digest: str) -> None:
        """Delete a blob, if it is here."""
        key = key_of(digest)
        with self._words():
            self._obstore.delete(self._store, key)

    def listed(self) -> Iterator[Stored]:
        """Go through all blobs."""
        with self._words():
            for page in self._obstore.list(self._store):
                for each in page:
                    name = each["path"].rpartition("/")[2]
                    if each["path"] == f"{name[:2]}/{name}" and len(name) == 64:
                        yield Stored(f"sha256:{name}", each["size"], each["last_modified"].timestamp())

    @contextmanager
    def _words(self) -> Iterator[None]:
        """Turn what the library raises into our errors. What it says may name keys: it goes to the log only."""
        kinds = self._obstore.exceptions
        try:
            yield
        except (kinds.NotFoundError, FileNotFoundError) as error:
            raise NotFound(f"There is no such object in {self._place}.", detail=str(error)) from None
        except (kinds.PermissionDeniedError, kinds.UnauthenticatedError) as error:
            raise Unavailable(
                f"The store {self._place} refuses these credentials. Ask the operator to look at [models] in the site file.",
                detail=str(error),
            ) from None
        except (kinds.BaseError, OSError) as error:
            raise Unavailable(
                f"The store {self._place} does not answer. Try again.", detail=str(error)
            ) from None


def _library() -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError as error:
        raise MissingDependency(
            "Artifacts in S3 need the package 'obstore', which is not installed. "
            'Install it with: pip install "genesis-workbench[s3]"'
        ) from error
    return obstore


def _credentials(path: str) -> dict[str, str]:
    if not path:
        return {}
    parser = configparser.ConfigParser()
    try:
        parser.read_string(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, configparser.Error, UnicodeDecodeError) as error:
        # What is in the file is not repeated.
        raise InvalidInput(f"The file {path} with the keys of the store cannot be read.") from error
    if not parser.has_section("default"):
        raise InvalidInput(f"The file {path} has no section [default].")
    known = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    return {name: parser["default"][name] for name in known if name in parser["default"]}
