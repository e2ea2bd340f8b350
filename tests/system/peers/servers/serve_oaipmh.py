"""An OAI-PMH server (pycsw on SQLite) with records in Dublin Core, run by the tests in an environment of its own.

Prints its port. It reads ``{"records": [{"id": ..., "title": ...}]}`` as one line from standard input first.
"""

import configparser
import json
import os
import pathlib
import sys
import tempfile
from wsgiref.simple_server import WSGIRequestHandler, make_server

RECORD = """<csw:Record xmlns:csw="http://www.opengis.net/cat/csw/2.0.2" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:dct="http://purl.org/dc/terms/" xmlns:ows="http://www.opengis.net/ows"><dc:identifier>{id}</dc:identifier>
<dc:title>{title}</dc:title><dc:type>dataset</dc:type><dc:subject>ocean</dc:subject>
<dct:modified>2024-01-01</dct:modified><dct:abstract>About {title}</dct:abstract>
<ows:BoundingBox crs="urn:x-ogc:def:crs:EPSG:6.11:4326"><ows:LowerCorner>47 -7</ows:LowerCorner>
<ows:UpperCorner>51 -5</ows:UpperCorner></ows:BoundingBox></csw:Record>"""


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


wanted = json.loads(sys.stdin.readline())["records"]
folder = pathlib.Path(tempfile.mkdtemp(prefix="pycsw-"))
(folder / "records").mkdir()
for number, each in enumerate(wanted):
    (folder / "records" / f"{number}.xml").write_text(RECORD.format(**each))
database = f"sqlite:///{folder / 'records.db'}"

import pycsw  # noqa: E402
import pycsw.core  # noqa: E402
from pycsw import wsgi  # noqa: E402
from pycsw.core import admin, config  # noqa: E402

home = str(pathlib.Path(pycsw.__file__).parent)
admin.setup_db(database, "records", home)
admin.load_records(config.StaticContext(), database, "records", str(folder / "records"))
server = make_server("127.0.0.1", 0, None, handler_class=Quiet)
settings = configparser.ConfigParser(interpolation=None)
settings.read_dict(
    {
        "server": {
            "home": home,
            "url": f"http://127.0.0.1:{server.server_port}/",
            "mimetype": "application/xml; charset=UTF-8",
            "encoding": "UTF-8",
            "language": "en-US",
            "maxrecords": "2",
        },
        "manager": {"transactions": "false", "allowed_ips": "127.0.0.1"},
        "metadata:main": dict.fromkeys(
            [
                "identification_title",
                "identification_abstract",
                "identification_keywords",
                "identification_keywords_type",
                "identification_fees",
                "identification_accessconstraints",
                "provider_name",
                "provider_url",
                "contact_name",
                "contact_position",
                "contact_address",
                "contact_city",
                "contact_stateorprovince",
                "contact_postalcode",
                "contact_country",
                "contact_phone",
                "contact_fax",
                "contact_email",
                "contact_url",
                "contact_hours",
                "contact_instructions",
                "contact_role",
            ],
            "test",
        ),
        "repository": {"database": database, "table": "records"},
        "metadata:inspire": {"enabled": "false"},
    }
)
with (folder / "pycsw.cfg").open("w") as file:
    settings.write(file)
os.environ["PYCSW_CONFIG"] = str(folder / "pycsw.cfg")
server.set_app(wsgi.application)
print(json.dumps({"port": server.server_port}), flush=True)
server.serve_forever()
