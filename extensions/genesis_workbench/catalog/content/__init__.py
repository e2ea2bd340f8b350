"""The bytes of a distribution, wherever they are: a file of a package, of an allowed folder, or behind http(s) or s3.

Every opener reads through here, so that one set of rules holds: where one may connect, which folders are open, how much is
read, and that content which changed is never read as if it were the old one. No library gets a foreign address.
"""

from genesis_workbench.catalog.content.file import Content, Stream, unpacked
from genesis_workbench.catalog.content.local import LocalContent, PackageContent
from genesis_workbench.catalog.content.places import Places, site_places
from genesis_workbench.catalog.content.remote import HttpContent

__all__ = [
    "Content",
    "HttpContent",
    "LocalContent",
    "PackageContent",
    "Places",
    "Stream",
    "site_places",
    "unpacked",
]
