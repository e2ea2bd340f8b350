"""TLS between the hub's machine and people's servers on others: authorities, keys, certificates, and where they are.

The authorities are JupyterHub's (`internal_ssl`), in a store of the form that it reads, since proxy and service are not started by it
and need theirs before. Who is vouched for by which of them says what they may do:

- hub-ca: the hub, and the service beside it. People's servers call nobody else.
- proxy-client-ca: the proxy. With hub-ca the only ones whom people's servers answer.
- notebooks-ca: people's servers. Whoever is vouched for by it may call hub and service, but no other server.

A server's certificate names its person's origin, which the proxy checks, as node compares a certificate with the Host header: one
person's server cannot stand in for another's, even at the same address.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from certipy.certipy import CertStore
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from genesis_workbench.core import certificates
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import Site

_HUB, _PROXY, _SERVERS = "hub-ca", "proxy-client-ca", "notebooks-ca"
_LOOKED_FOR = ("proxy-api-ca", "services-ca")  # JupyterHub would make them; nobody has their certificates
_AUTHORITIES = (_HUB, _PROXY, _SERVERS, *_LOOKED_FOR)
_LIFE = timedelta(days=5 * 365)
SERVER_LIFE = timedelta(days=365)
"""How long the certificate of a server without a walltime is good. It cannot be renewed while the server runs."""
_CLOCKS_DIFFER = timedelta(hours=12)


@dataclass(frozen=True)
class ServerFiles:
    """What a person's server needs, as PEM: its certificate, whom it trusts, and its key unless it made that itself."""

    certificate: bytes
    trusted: bytes
    key: bytes = field(default=b"", repr=False)


class InternalTls:
    """Certificates of one installation.

    Parameters
    ----------
    folder : Path
        Folder of the state that holds them, for the hub's account alone.
    site : Site
        The site, at its port.
    """

    def __init__(self, folder: Path, site: Site) -> None:
        self._folder, self._site = folder, site
        self.store = folder / "store"

    def __deepcopy__(self, _: object) -> InternalTls:
        return self  # traitlets copies what is in its configuration for every spawner

    def prepare(self) -> None:
        """Make what is missing, and what has come into the second half of its life or names other addresses, anew.

        To be called before the processes start, which read it once. An authority keeps its key: servers that run trust what
        is signed with it, before and after.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._folder.chmod(0o700)  # certipy opens the folders below it
        index = self.store / "certipy.json"
        index.unlink(missing_ok=True)  # it holds whole paths, and the folder may have moved
        store = CertStore(containing_dir=str(self.store))
        for name in _AUTHORITIES:
            self._keep_authority(name)
            store.add_record(name, is_ca=True, files=self._files(name))
        hub = self._site.hub
        own = {urlsplit(self._site.public_url).hostname or "", hub.private_address, hub.private_name}
        leaves = {
            "hub-internal": (_HUB, own | {"localhost", "127.0.0.1"}),
            "workbench": (_HUB, own),
            "proxy-client": (_PROXY, {"localhost"}),
            "proxy-api": ("proxy-api-ca", {"localhost"}),
        }
        for name, (authority, names) in leaves.items():
            self._keep(name, authority, names - {""})
            store.add_record(
                name, parent_ca=authority, files={**self._files(name), "ca": str(self._crt(authority))}
            )
        for name, trusted in (("hub", [_HUB]), ("servers", [_SERVERS]), ("all", [_HUB, _SERVERS])):
            _write(self._trusting(name), b"".join(self._crt(each).read_bytes() for each in trusted))

    @cached_property
    def authority(self) -> str:
        """What tells this installation's certificates from another's, renewals apart."""
        _, key = self._load(_SERVERS)
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(public).hexdigest()[:16]

    def proxy_options(self) -> list[str]:
        """Return how the proxy calls the hub and people's servers."""
        return [
            *("--client-ssl-key", str(self._key("proxy-client"))),
            *("--client-ssl-cert", str(self._crt("proxy-client"))),
            *("--client-ssl-ca", str(self._trusting("all"))),
        ]

    def service_options(self) -> list[str]:
        """Return whom the service answers by TLS."""
        return ["--callers", str(self._trusting("all"))]

    def service_variables(self) -> dict[str, str]:
        """Return with what the service calls the hub, and listens."""
        return {
            certificates.KEY: str(self._key("workbench")),
            certificates.CERTIFICATE: str(self._crt("workbench")),
            certificates.TRUSTED: str(self._trusting("hub")),
        }

    def calling_hub(self) -> ssl.SSLContext:
        """Return how a process of ours calls the hub, or the service."""
        return self._calling("hub")

    def calling_servers(self) -> ssl.SSLContext:
        """Return how a process of ours calls people's servers."""
        return self._calling("servers")

    def server(self, person: str, address: str) -> ServerFiles:
        """Make the key and the certificate of a person's server that is reached at `address`."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self._server(key.public_key(), person, address, SERVER_LIFE, _pem(key))

    def certify(self, request: str, person: str, address: str, life: timedelta) -> ServerFiles:
        """Return the certificate for a server that has made its key itself.

        Parameters
        ----------
        request : str
            PKCS #10, as PEM; of its content only the key counts.
        person : str
            Whose server it is.
        address : str
            IP address that it says it listens at. No other name: it might say the hub's.
        life : timedelta
            How long the server may run.

        Raises
        ------
        InvalidInput
            If the request, or the address, is not what it should be.
        """
        try:
            asked = x509.load_pem_x509_csr(request.encode())
            ipaddress.ip_address(address)
            good = asked.is_signature_valid and isinstance(asked.public_key(), ec.EllipticCurvePublicKey)
        except (ValueError, InvalidSignature) as error:
            raise InvalidInput(
                "Your server asked for its certificate in a way that the hub does not know."
            ) from error
        if not good:
            raise InvalidInput("Your server asked for a certificate for a key that it does not hold.")
        return self._server(asked.public_key(), person, address, life)

    def _server(
        self, public: Any, person: str, address: str, life: timedelta, key: bytes = b""
    ) -> ServerFiles:
        authority, signer = self._load(_SERVERS)
        origin = urlsplit(self._site.origin(person, "user")).hostname or ""
        made = _certificate(person, public, {origin, address}, life, authority, signer)
        trusted = b"".join(self._crt(each).read_bytes() for each in (_HUB, _PROXY))
        return ServerFiles(made.public_bytes(Encoding.PEM), trusted, key)

    def _keep_authority(self, name: str) -> None:
        if self._crt(name).exists():
            old, key = self._load(name)
            if _young(old):
                return
        else:
            key = ec.generate_private_key(ec.SECP256R1())
            _write(self._key(name), _pem(key))
        _write(
            self._crt(name),
            _certificate(name, key.public_key(), (), _LIFE, None, key).public_bytes(Encoding.PEM),
        )

    def _keep(self, name: str, authority: str, names: set[str]) -> None:
        issuer, signer = self._load(authority)
        if self._crt(name).exists():
            old, _ = self._load(name)
            if _young(old) and _named(old) == names:
                return
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(name, key.public_key(), names, _LIFE, issuer, signer)
        self._crt(name).unlink(
            missing_ok=True
        )  # a key without its certificate is made anew, the reverse fails
        _write(self._key(name), _pem(key))
        _write(self._crt(name), made.public_bytes(Encoding.PEM))

    def _calling(self, whom: str) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=str(self._trusting(whom)))
            context.load_cert_chain(self._crt("workbench"), self._key("workbench"))
        except OSError as error:  # of which ssl's are
            raise InvalidInput(
                f"{self._folder} holds no certificates that can be read. `workbench up` makes them."
            ) from error
        return context

    def _load(self, name: str) -> tuple[x509.Certificate, Any]:
        try:
            key = load_pem_private_key(self._key(name).read_bytes(), None)
            return x509.load_pem_x509_certificate(self._crt(name).read_bytes()), key
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"{self._crt(name)} or its key cannot be read. Restore {self._folder} from a backup, or stop people's servers and "
                "delete it: it is made anew."
            ) from error

    def _files(self, name: str) -> dict[str, str]:
        return {"key": str(self._key(name)), "cert": str(self._crt(name)), "ca": ""}

    def _key(self, name: str) -> Path:
        return self.store / name / f"{name}.key"

    def _crt(self, name: str) -> Path:
        return self.store / name / f"{name}.crt"

    def _trusting(self, name: str) -> Path:
        # Not JupyterHub's own bundles: it writes those while the proxy reads.
        return self._folder / f"trusted-{name}.pem"


def own_contexts() -> None:
    """Have the hub make each of its contexts once, and answer those alone whom this installation vouches for.

    JupyterHub (6.1, `make_ssl_context`) reads the system's authorities for each context, and makes one for every server that starts
    or is looked for: some 50 ms each of the hub's only thread. It reads them for where it listens, too, so that whoever has any public
    certificate would pass. Where it calls they stay, since it calls identity providers.
    """
    from jupyterhub import app, user

    calling = cache(app.make_ssl_context)

    def context(
        keyfile: str,
        certfile: str,
        cafile: str | None = None,
        *,
        purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH,
    ) -> Any:
        if purpose is ssl.Purpose.SERVER_AUTH:
            return calling(keyfile, certfile, cafile)
        made = ssl.create_default_context(purpose, cafile=cafile)
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_cert_chain(certfile, keyfile)
        return made

    app.make_ssl_context = user.make_ssl_context = context


def _certificate(
    name: str,
    public: Any,
    names: Iterable[str],
    life: timedelta,
    authority: x509.Certificate | None,
    signer: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """Return a certificate: that of an authority, signed by itself, where there is no `authority`."""
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    alone = authority is None
    until = now + life if authority is None else min(now + life, authority.not_valid_after_utc)
    usage = partial(
        x509.KeyUsage, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority is None else authority.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=alone, path_length=0 if alone else None), critical=True)
        .add_extension(usage(digital_signature=not alone, key_cert_sign=alone, crl_sign=alone), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if there := [_alternative(each) for each in sorted(names)]:
        made = made.add_extension(x509.SubjectAlternativeName(there), critical=False)
    return made.sign(signer, hashes.SHA256())


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _named(certificate: x509.Certificate) -> set[str]:
    there = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(each.value) for each in there}


def _young(certificate: x509.Certificate) -> bool:
    begun, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return datetime.now(UTC) < begun + (ends - begun) / 2


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 in one step."""
    path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    partial_file = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    partial_file.replace(path)
