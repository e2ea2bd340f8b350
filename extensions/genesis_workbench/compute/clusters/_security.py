"""Certificates of one cluster: made with it, kept in files for its owner alone, gone with it."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed.security import Security

_CERTIFICATE, _KEY = "certificate.pem", "key.pem"
_LIFETIME = datetime.timedelta(days=30)


def make(folder: Path) -> Security:
    """Make a key and a certificate that signs itself; whoever holds both belongs to the cluster.

    Parameters
    ----------
    folder : Path
        Folder of mode 0700 that all machines of the cluster share.

    Returns
    -------
    distributed.security.Security
        TLS for client, scheduler and workers, each of which proves itself.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "genesis-cluster")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))  # clocks of machines differ
        .not_valid_after(now + _LIFETIME)
        .sign(key, hashes.SHA256())
    )
    _write(folder / _CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM))
    _write(
        folder / _KEY,
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    return load(folder)


def load(folder: Path) -> Security:
    """Return the certificates that :func:`make` left in `folder`."""
    from distributed.security import Security

    certificate, key = str(folder / _CERTIFICATE), str(folder / _KEY)
    return Security(
        require_encryption=True,
        tls_ca_file=certificate,
        tls_client_cert=certificate,
        tls_client_key=key,
        tls_scheduler_cert=certificate,
        tls_scheduler_key=key,
        tls_worker_cert=certificate,
        tls_worker_key=key,
    )


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
