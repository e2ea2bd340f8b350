"""How the proxy faces people: by TLS with the site's certificate, or plainly on loopback and where a proxy before it speaks TLS."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.secret import read_private
from genesis_workbench.core.site import Site

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


@dataclass(frozen=True)
class Front:
    """The proxy of a site, as it is reached."""

    site: Site

    @property
    def encrypts(self) -> bool:
        """Whether the proxy itself speaks TLS."""
        return bool(self.site.hub.certificate_file)

    @property
    def host(self) -> str:
        """Host, with its port where there is one, by which people know the workbench."""
        return urlsplit(self.site.public_url).netloc

    @property
    def address(self) -> str:
        """Address at which this machine reaches the proxy."""
        address = self.site.hub.address
        try:
            everywhere = ipaddress.ip_address(address).is_unspecified
        except ValueError:
            everywhere = False
        return "127.0.0.1" if everywhere else address

    def check(self) -> None:
        """Refuse a certificate that browsers would refuse.

        Raises
        ------
        InvalidInput
            If certificate or key cannot be read, do not belong together, have ended, or are for other hosts.
        """
        if not self.encrypts:
            return
        certificate, key = self.site.hub.certificate_file, self.site.hub.key_file
        read_private(key, "hub.key_file")
        try:
            # An empty password: of a key that is encrypted OpenSSL would ask for one on the terminal, and wait.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
        except OSError as error:  # ssl.SSLError is one
            raise InvalidInput(
                f"hub.certificate_file {certificate} and hub.key_file {key} cannot be used ({error.strerror or error}). They are "
                "PEM files, the certificate first in its own, and the key is that of the certificate, not encrypted."
            ) from error
        found = _first(certificate)
        if found.not_valid_after_utc < datetime.now(UTC):
            raise InvalidInput(
                f"The certificate {certificate} ended on {found.not_valid_after_utc:%Y-%m-%d}. Renew it; the proxy takes it up by itself."
            )
        if lacking := sorted(set(self._names()) - _names_of(found)):
            raise InvalidInput(
                f"The certificate {certificate} is not for {' and '.join(lacking)}, by which people reach the workbench. Ask for one that "
                "names them, or change hub.public_url and hub.origin_domain."
            )

    def left(self) -> timedelta | None:
        """Return for how long the certificate holds; None where there is none."""
        return (
            _first(self.site.hub.certificate_file).not_valid_after_utc - datetime.now(UTC)
            if self.encrypts
            else None
        )

    def stamp(self) -> tuple[int, ...]:
        """Return what changes when certificate or key are written anew."""
        try:
            found = [Path(each).stat() for each in self._files()]
        except OSError:  # it is being replaced
            return ()
        # The size, too: within one tick of the file system's clock a file is emptied and written.
        return tuple(number for each in found for number in (each.st_mtime_ns, each.st_size))

    def proxy_options(self) -> list[str]:
        """Return where and how the proxy listens."""
        options = ["--ip", self.site.hub.address, "--port", str(self.site.hub.port)]
        if self.encrypts:
            options += ["--ssl-cert", self.site.hub.certificate_file, "--ssl-key", self.site.hub.key_file]
        return options

    def context(self) -> ssl.SSLContext | None:
        """Return what the proxy's certificate is checked against from beside it: that very certificate."""
        if not self.encrypts:
            return None
        context = ssl.create_default_context(cafile=self.site.hub.certificate_file)
        context.verify_flags = ssl.VERIFY_X509_PARTIAL_CHAIN  # the file need not have the authority's own
        return context

    def get(self, path: str, timeout_s: float = 10) -> httpx.Response | None:
        """Ask the proxy, from beside it, for a page of the hub; None where nobody answers.

        By its own address: from this machine the way by which people come may not be open, or not yet.
        """
        here = f"{'https' if self.encrypts else 'http'}://{self.address}:{self.site.hub.port}"
        named = {"sni_hostname": urlsplit(self.site.public_url).hostname or ""}
        try:
            with httpx.Client(trust_env=False, timeout=timeout_s, verify=self.context() or True) as client:
                return client.get(f"{here}{path}", headers={"Host": self.host}, extensions=named)
        except httpx.TransportError:
            return None

    def _files(self) -> Iterator[str]:
        if self.encrypts:
            yield from (self.site.hub.certificate_file, self.site.hub.key_file)

    def _names(self) -> Iterator[str]:
        yield urlsplit(self.site.public_url).hostname or ""
        if self.site.hub.origin_domain:
            yield f"*.{self.site.hub.origin_domain}"


def _first(file: str) -> Certificate:
    """Return the first certificate of a file."""
    from cryptography import x509  # slow to import, and only where there is a certificate

    return x509.load_pem_x509_certificates(Path(file).read_bytes())[0]


def _names_of(certificate: Certificate) -> set[str]:
    """Return the hosts and addresses that a certificate is for."""
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    hosts = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    return hosts | {str(address) for address in names.get_values_for_type(x509.IPAddress)}
