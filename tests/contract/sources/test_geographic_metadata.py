"""Geographic metadata: ISO 19139 and FGDC in folders on the web and in CSW. Each keeps the contract; the payloads are written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from genesis_workbench.catalog import xml
from genesis_workbench.catalog.dataset import Dataset
from genesis_workbench.catalog.sources import _iso
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.testing.sources import (
    Canned,
    RemoteSourceContract,
    first_records,
    make,
)

GMD = """<gmd:MD_Metadata xmlns:gmd="http://www.isotc211.org/2005/gmd" xmlns:gco="http://www.isotc211.org/2005/gco"
 xmlns:gml="http://www.opengis.net/gml"><gmd:fileIdentifier><gco:CharacterString>NAME</gco:CharacterString></gmd:fileIdentifier>
<gmd:contact><gmd:CI_ResponsibleParty><gmd:organisationName><gco:CharacterString>NOAA</gco:CharacterString></gmd:organisationName>
<gmd:role><gmd:CI_RoleCode/></gmd:role></gmd:CI_ResponsibleParty></gmd:contact>
<gmd:dateStamp><gco:Date>2024-01-02</gco:Date></gmd:dateStamp><gmd:identificationInfo><gmd:MD_DataIdentification>
<gmd:citation><gmd:CI_Citation><gmd:title><gco:CharacterString>Tides</gco:CharacterString></gmd:title></gmd:CI_Citation>
</gmd:citation><gmd:abstract><gco:CharacterString>Of the sea</gco:CharacterString></gmd:abstract>
<gmd:descriptiveKeywords><gmd:MD_Keywords><gmd:keyword><gco:CharacterString>EARTH SCIENCE &gt; OCEANS</gco:CharacterString>
</gmd:keyword></gmd:MD_Keywords></gmd:descriptiveKeywords><gmd:extent><gmd:EX_Extent><gmd:geographicElement>
<gmd:EX_GeographicBoundingBox><gmd:westBoundLongitude><gco:Decimal>1</gco:Decimal></gmd:westBoundLongitude>
<gmd:eastBoundLongitude><gco:Decimal>3</gco:Decimal></gmd:eastBoundLongitude><gmd:southBoundLatitude><gco:Decimal>2</gco:Decimal>
</gmd:southBoundLatitude><gmd:northBoundLatitude><gco:Decimal>4</gco:Decimal></gmd:northBoundLatitude>
</gmd:EX_GeographicBoundingBox></gmd:geographicElement><gmd:temporalElement><gmd:EX_TemporalExtent><gmd:extent><gml:TimePeriod>
<gml:beginPosition>2000-01-01</gml:beginPosition><gml:endPosition/></gml:TimePeriod></gmd:extent></gmd:EX_TemporalExtent>
</gmd:temporalElement></gmd:EX_Extent></gmd:extent></gmd:MD_DataIdentification></gmd:identificationInfo><gmd:distributionInfo>
<gmd:CI_OnlineResource><gmd:linkage><gmd:URL>https://example.gov/tides.nc</gmd:URL></gmd:linkage></gmd:CI_OnlineResource>
</gmd:distributionInfo></gmd:MD_Metadata>"""
FGDC = """<metadata><idinfo><citation><citeinfo><origin>USGS</origin><title>Rocks</title><onlink>https://example.gov/r.zip</onlink>
</citeinfo></citation><descript><abstract>Hard</abstract></descript><timeperd><timeinfo><rngdates><begdate>19990101</begdate>
<enddate>2001</enddate></rngdates></timeinfo></timeperd><spdom><bounding><westbc>-5</westbc><eastbc>5</eastbc><northbc>9</northbc>
<southbc>8</southbc></bounding></spdom><keywords><theme><themekey>rock</themekey></theme></keywords><accconst>None</accconst>
</idinfo><metainfo><metd>20200304</metd></metainfo></metadata>"""
LISTING = b"""<html><body><a href="?C=N;O=D">Name</a> <a href="/">Parent</a> <a href="tides.xml">tides</a>
<A HREF='deep/'>deep</A> <a href="broken.xml">broken</a> <a href="https://elsewhere.example/x.xml">x</a></body></html>"""


class TestWaf(RemoteSourceContract):
    kind = "waf"
    path = "/waf/"
    good = {
        "/waf/": LISTING,
        "/waf/tides.xml": GMD.replace("NAME", "tides").encode(),
        "/waf/deep/": b'<pre><a href="/waf/deep/tides2.xml">t</a></pre>',
        "/waf/deep/tides2.xml": GMD.replace("NAME", "tides2").encode(),
        "/waf/broken.xml": b"<gmd:MD_Metadata",
    }
    names = ["tides", "tides2"]


def test_a_folder_whose_listing_has_not_changed_is_not_read_again() -> None:
    listing = b'<a href="tides.xml">tides</a> 2024-01-01 12:00'
    fetcher = Canned(listing, GMD.encode())
    (first,) = make("waf", fetcher, "https://example.gov/waf/").pages()
    again = Canned(listing)
    (second,) = make("waf", again, "https://example.gov/waf/").pages(state=first.state)
    assert second.unchanged
    assert len(again.asked) == 1


def test_iso_and_fgdc_say_where_and_when() -> None:
    (tides,) = first_records("waf", GMD.encode(), "https://example.gov/waf/tides.xml")
    assert isinstance(tides, Dataset)
    assert (tides.title, tides.agency, tides.keywords) == ("Tides", "NOAA", ["OCEANS"])
    assert (tides.spatial, tides.temporal) == ((1.0, 2.0, 3.0, 4.0), ("2000-01-01", None))
    assert (tides.formats, tides.modified) == (["netcdf"], "2024-01-02")
    (rocks,) = first_records("waf", FGDC.encode(), "https://example.gov/waf/rocks.xml")
    assert isinstance(rocks, Dataset)
    assert (rocks.title, rocks.agency, rocks.access) == ("Rocks", "USGS", "")
    assert (rocks.spatial, rocks.temporal) == ((-5.0, 8.0, 5.0, 9.0), ("1999-01-01", "2001"))
    assert (rocks.formats, rocks.modified) == (["zip"], "2020-03-04")
    nobody = GMD.replace("<gmd:CI_RoleCode/>", "").replace("NOAA", "")
    with pytest.raises(InvalidInput, match="neither a name nor a role"):
        _iso.fields(xml.parse(nobody.encode(), "ISO"))


class TestCsw(RemoteSourceContract):
    kind = "csw"
    path = "/csw"
    names = ["one", "two"]

    def answers(self) -> Mapping[str, Any]:
        def records(query: Mapping[str, str]) -> bytes:
            first = query["startPosition"] == "1"
            inner = GMD.replace("NAME", "one" if first else "two")
            after = 2 if first else 0
            return f'<r><SearchResults nextRecord="{after}">{inner}</SearchResults></r>'.encode()

        return {"/csw": records}
