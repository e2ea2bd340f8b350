"""Certificates for tests, signed by an authority of their own."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# What the key of an authority may do: sign certificates, and nothing else.
SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """Signs certificates for hosts, as an organisation does.

    Attributes
    ----------
    file, certificate, key : Path
        Its own certificate, and the last one that it signed with the private key of that.
    """

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _called("an authority for tests")
        self.file, self.certificate, self.key = (
            folder / each for each in ("authority.crt", "site.crt", "site.key")
        )
        basic = (x509.BasicConstraints(ca=True, path_length=None), True)
        self.file.write_bytes(self._signed(self._name, self._key.public_key(), basic))

    def sign(self, *hosts: str, days: float = 30) -> int:
        """Write a new key and its certificate that holds for so many days; return the certificate's number."""
        key = ec.generate_private_key(ec.SECP256R1())
        self.key.unlink(missing_ok=True)
        self.key.touch(mode=0o600)
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        names = (x509.SubjectAlternativeName([name for each in hosts for name in _named(each)]), False)
        made = self._signed(_called("a server for tests"), key.public_key(), names, days)
        self.certificate.write_bytes(made)
        return x509.load_pem_x509_certificate(made).serial_number

    def _signed(self, subject: x509.Name, key: Any, extension: tuple[Any, bool], days: float = 30) -> bytes:
        now, ours = dt.datetime.now(dt.UTC), self._key.public_key()
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        made = made.serial_number(x509.random_serial_number()).add_extension(*extension)
        # Which keys these are: newer versions of Python refuse a certificate that does not say it.
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ours), critical=False)
        if key == ours:
            made = made.add_extension(SIGNS, critical=True)
        made = made.not_valid_before(now - dt.timedelta(days=2)).not_valid_after(
            now + dt.timedelta(days=days)
        )
        return made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _named(host: str) -> list[x509.GeneralName]:
    try:
        # Twice: ldap3 looks for an address among the names.
        return [x509.IPAddress(ipaddress.ip_address(host)), x509.DNSName(host)]
    except ValueError:
        return [x509.DNSName(host)]
