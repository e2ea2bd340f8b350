"""Dashboards in a ledger: what the service keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound, PermissionRefused
from genesis_workbench.core.identifiers import digest_json
from genesis_workbench.core.ledger import Ledger, NewEvent
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.dashboards.record import (
    PREFIX,
    DashboardRecord,
    Publication,
    fold,
    is_dashboard_id,
    new_dashboard_id,
    stream,
)


class LedgerDashboards:
    """Publishes, lists and takes back dashboards.

    Parameters
    ----------
    ledger : Ledger
        Where their events are.
    blobs : BlobStore
        Where their scripts are kept, by content.
    shipped : Path
        Folder of the dashboards that come with the workbench.
    """

    def __init__(self, ledger: Ledger, blobs: BlobStore, shipped: Path) -> None:
        self._ledger, self._blobs, self._shipped = ledger, blobs, shipped

    def publish(self, publication: Publication, person: Person, *, key: str | None = None) -> DashboardRecord:
        """Publish on behalf of `person`; the same key twice publishes once.

        Raises
        ------
        InvalidInput
            If it names neither or both of `app` and `source`, or the script is no Python.
        PermissionRefused
            If the person is not in a group it is to be shared with.
        """
        outside = sorted(set(publication.groups) - person.groups)
        if outside:
            raise PermissionRefused(f"You are not in the group {outside[0]!r}, so you cannot share with it.")
        source = self._source(publication)
        digest = self._blobs.put(source)
        dashboard = new_dashboard_id()
        if key is not None:
            dashboard = f"dsh-{digest_json([person.name, key])[7:23]}"
            if self._ledger.version(stream(dashboard)):
                record = self.get(dashboard, person)
                if (record.title, record.source_digest, record.parameters) != (
                    publication.title,
                    digest,
                    publication.parameters,
                ):
                    raise Conflict("This Idempotency-Key was used for another dashboard. Use a new one.")
                return record
        body = {
            "title": publication.title,
            "app": publication.app,
            "source_digest": digest,
            "parameters": publication.parameters,
            "groups": sorted(set(publication.groups)),
        }
        self._ledger.append_many(
            [NewEvent(stream(dashboard), "dashboard.published", body, person.name, expect=0)]
        )
        return self.get(dashboard, person)

    def get(self, dashboard: str, person: Person) -> DashboardRecord:
        """Return a dashboard that `person` may open; NotFound otherwise."""
        record = self.find(dashboard)
        if not record.access.permits(person):
            raise NotFound("There is no such dashboard, or it was taken back.")
        return record

    def find(self, dashboard: str) -> DashboardRecord:
        """Return a dashboard whoever asks; the caller checks its access."""
        if not is_dashboard_id(dashboard):
            raise NotFound(f"{dashboard[:40]!r} is no identifier of a dashboard.")
        return fold(self._ledger.all(stream=stream(dashboard)))

    def script(self, record: DashboardRecord) -> str:
        """Return the source of its script, compared with its hash."""
        return self._blobs.read(record.source_digest).decode()

    def all(self, person: Person) -> Iterator[DashboardRecord]:
        """Iterate over the dashboards that `person` may open, oldest first."""
        after = 0
        while batch := self._ledger.read(prefix=PREFIX, kinds=["dashboard.published"], after=after):
            after = batch[-1].seq
            for event in batch:
                try:
                    yield self.get(event.stream.removeprefix(PREFIX), person)
                except NotFound:
                    continue

    def unshare(self, dashboard: str, person: Person) -> None:
        """Take a dashboard back; only its owner can."""
        record = self.get(dashboard, person)
        if record.owner != person.name:
            raise PermissionRefused(f"Only {record.owner}, who published it, can take this dashboard back.")
        self._ledger.append(stream(dashboard), "dashboard.unshared", {}, actor=person.name)

    def _source(self, publication: Publication) -> bytes:
        if bool(publication.app) == bool(publication.source):
            raise InvalidInput(
                "Name either a dashboard that comes with the workbench or a script of your own."
            )
        if publication.source:
            try:
                compile(publication.source, "<dashboard>", "exec")
            except (SyntaxError, ValueError) as error:
                raise InvalidInput(f"The script is no Python: {error}.") from error
            return publication.source.encode()
        known = sorted(path.stem for path in self._shipped.glob("*.py"))
        if publication.app not in known:
            raise InvalidInput(
                f"No dashboard called {publication.app!r} comes with the workbench. There are: {', '.join(known)}."
            )
        return (self._shipped / f"{publication.app}.py").read_bytes()
