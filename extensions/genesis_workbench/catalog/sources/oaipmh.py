"""OAI-PMH: how libraries and repositories have offered their records for twenty years."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qs

from genesis_workbench.catalog import xml
from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.sources import _datacite, _dublin
from genesis_workbench.catalog.sources._base import Page, dataset_id, follow, make_dataset, read_page
from genesis_workbench.catalog.sources._values import clean, date
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.http import Fetcher
from genesis_workbench.core.site import SourceSection

_ARGUMENTS = ("metadataPrefix", "set")


class OaiPmhSource:
    """All records of a repository, or of one set; removed ones are named where the repository remembers them.

    `url` of the section is the base address; its query may name a format and a set
    (``?metadataPrefix=oai_datacite&set=data``); what else is in it goes with every request. Dublin Core is asked for
    where it names no format. DataCite's metadata, also wrapped in ``oai_datacite``, and Dublin Core are read.
    """

    kind: ClassVar[str] = "oaipmh"
    protocol: ClassVar[str] = "OAI-PMH 2.0 with DataCite or Dublin Core"
    incremental: ClassVar[bool] = True

    def __init__(self, section: SourceSection, fetcher: Fetcher) -> None:
        base, _, query = section.url.partition("?")
        self._url = base
        given = {name: values[0] for name, values in parse_qs(query).items()}
        self._chosen = {"metadataPrefix": "oai_dc", **{k: v for k, v in given.items() if k in _ARGUMENTS}}
        self._always = {k: v for k, v in given.items() if k not in _ARGUMENTS}
        self._section = section
        self._fetcher = fetcher

    def pages(self, cursor: str | None = None, *, state: Mapping[str, str] | None = None) -> Iterator[Page]:
        """Yield pages from `cursor`, a resumption token, on; with a state, of what changed since then (``from``)."""
        since = (state or {}).get("since")
        return follow(lambda at: self._page(at, since), cursor)

    def _page(self, cursor: str | None, since: str | None) -> Page:
        root = self._answer({"resumptionToken": cursor} if cursor else {**self._chosen, "from": since})
        refused = xml.first(root, "error")
        if cursor and refused is not None and "metadataPrefix" in "".join(refused.itertext()):
            # Against the protocol, some want the format again with each token (pycsw 2.6 does).
            root = self._answer({"resumptionToken": cursor, "metadataPrefix": self._chosen["metadataPrefix"]})
        if xml.local(root) != "OAI-PMH":
            raise InvalidInput(
                f"The source {self._section.name!r} sent <{xml.local(root)[:60]}>, where OAI-PMH was expected."
            )
        # The repository's own clock, in the granularity that it understands.
        moment = xml.text(root, "responseDate")
        state = {"since": (moment if "T" in (since or moment) else moment[:10])} if date(moment) else {}
        refusal = xml.first(root, "error")
        if refusal is not None:
            return self._refused(refusal, state, since)
        answered = xml.first(root, "ListRecords")
        answered = xml.first(root, "GetRecord") if answered is None else answered
        if answered is None:
            raise InvalidInput(f"The source {self._section.name!r} answered without ListRecords.")
        records = list(xml.inside(answered, "record"))
        gone = [r for r in records if xml.attribute(xml.first(r, "header"), "status") == "deleted"]
        kept = [xml.record(r) for r in records if r not in gone]
        following = xml.text(answered, "resumptionToken") if records else ""
        following = "" if following == "0" else following  # how some say that the list is complete
        removed = tuple(
            dataset_id(self._section.name, _name({"element": r})) for r in gone if _name({"element": r})
        )
        return read_page(kept, self._read, _name, following or None, removed=removed, state=state)

    def _answer(self, asked: Mapping[str, str | None]) -> Any:
        params = {**self._always, "verb": "ListRecords", **asked}
        answer = self._fetcher.fetch(
            self._url, params=params, headers={"Accept": "text/xml, application/xml"}
        )
        return xml.parse(answer.body, "an OAI-PMH answer")

    def _refused(self, refusal: Any, state: Mapping[str, str], since: str | None) -> Page:
        code = xml.attribute(refusal, "code")
        if code == "noRecordsMatch":
            return Page([], state=state, unchanged=since is not None)
        said = clean("".join(refusal.itertext()), 200)
        raise InvalidInput(
            f"The source {self._section.name!r} answered with the error {code or 'without a code'!r}"
            + (f": {said}" if said else ".")
        )

    def _read(self, record: Mapping[str, Any]) -> Dataset:
        content = next(iter(xml.first(record["element"], "metadata")), None)
        name = xml.local(content) if content is not None else ""
        native = {"#text": record["#text"]}
        header = xml.first(record["element"], "header")
        stamp = xml.text(header, "datestamp") or xml.text(header, "dateStamp")
        if name == "oai_datacite":
            content = next((e for e in xml.inside(content, "payload", "resource")), content)
            name = xml.local(content)
        if name == "resource":
            described = _datacite.from_xml(content)
            fields = _datacite.fields(described)
            return make_dataset(
                self._section,
                native,
                identifier=_name(record),
                title=_datacite.title(described),
                **{**fields, "modified": fields["modified"] or stamp},
            )
        if name == "dc":
            return make_dataset(
                self._section, native, identifier=_name(record), **_dublin.fields(content, stamp)
            )
        raise InvalidInput(f"its metadata are <{name[:60]}>: DataCite and Dublin Core are read")


def _name(record: Mapping[str, Any]) -> str:
    return clean(xml.text(record["element"], "header", "identifier"), 300)
