"""The site's signature of a version: that of OpenSSF model signing 1.0, with a key that need not be on any server.

What is signed is a folder of two files: the artifact, and ``record.json``, the record as canonical JSON. The signature is an
in-toto statement in a DSSE envelope in a Sigstore bundle, by ECDSA on P-256, P-384 or P-521; ``model_signing verify key`` of
OpenSSF verifies the same. Why not by that library: docs/decisions/0014.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis_workbench.core.errors import InvalidInput, VerificationFailed
from genesis_workbench.core.identifiers import canonical_json
from genesis_workbench.models.record import ModelVersion
from genesis_workbench.models.selftest import format_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import HashAlgorithm

RECORD = "record.json"
MOST_BYTES = 65_536
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_SERIALIZATION = {
    "method": "files",
    "hash_type": "sha256",
    "allow_symlinks": False,
    "ignore_paths": [".gitignore", ".gitattributes", ".git", ".github"],
}


def write(version: ModelVersion, artifact: bytes, folder: Path) -> None:
    """Write the two files that are signed into a new folder."""
    folder.mkdir(parents=True)
    (folder / artifact_name(version)).write_bytes(artifact)
    (folder / RECORD).write_bytes(_record(version))


def artifact_name(version: ModelVersion) -> str:
    """Return the file name of an artifact."""
    return "model" + format_of(version.format).suffix


def sign(folder: Path, key: bytes, password: bytes | None = None) -> dict[str, Any]:
    """Sign a folder that :func:`write` wrote; needs no zoo and no network.

    Parameters
    ----------
    folder : Path
        Artifact and record.
    key : bytes
        Private key in PEM.

    Raises
    ------
    InvalidInput
        If the folder is not such a one, or the key of another kind.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    version = _read(folder)
    try:
        private = load_pem_private_key(key, password)
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            "The private key cannot be read: it must be PEM, with its password if it has one."
        ) from error
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise InvalidInput(
            "The private key is of another kind. Make one with: openssl ecparam -name prime256v1 -genkey -noout"
        )
    payload = json.dumps(_statement(version)).encode()
    signature = private.sign(_encoded(payload), ec.ECDSA(_hash(private.public_key())))
    return {
        "mediaType": _BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": _hint(private.public_key())}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }


def verify(version: ModelVersion, bundle: dict[str, Any] | None, trusted: Iterable[str]) -> None:
    """Check that a trusted key signed exactly this version.

    Parameters
    ----------
    version : ModelVersion
        Its record.
    bundle : dict or None
        The signature that came with it.
    trusted : iterable of str
        Public keys in PEM.

    Raises
    ------
    VerificationFailed
        If there is none, no trusted key made it, or it is about something else; says which.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec

    keys = {_hint(key): key for key in map(_public, trusted)}
    if bundle is None:
        raise VerificationFailed(
            f"{version.reference} has no signature, and this site loads signed models only. Ask its stewards to sign it."
        )
    payload, signature, hint = _opened(version, bundle)
    key = keys.get(hint)
    if key is None:
        raise VerificationFailed(
            f"{version.reference} is signed by the key {hint[:16] or 'without a name'}, which this site does not trust. "
            f"It trusts: {', '.join(name[:16] for name in keys) or 'none'}."
        )
    try:
        key.verify(signature, _encoded(payload), ec.ECDSA(_hash(key)))
    except InvalidSignature:
        raise VerificationFailed(
            f"The signature of {version.reference} is wrong: what was signed is not what it says, or the key did not sign it."
        ) from None
    _check_statement(version, payload)


def _opened(version: ModelVersion, bundle: dict[str, Any]) -> tuple[bytes, bytes, str]:
    try:
        envelope = bundle["dsseEnvelope"]
        (signed,) = envelope["signatures"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(signed["sig"], validate=True)
        kinds = (bundle["mediaType"], envelope["payloadType"])
        hint = str(bundle["verificationMaterial"]["publicKey"]["hint"])
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise VerificationFailed(
            f"The signature of {version.reference} is no bundle of OpenSSF model signing: {str(error)[:100]}. Sign it again."
        ) from error
    if kinds != (_BUNDLE, _PAYLOAD_TYPE):
        raise VerificationFailed(
            f"The signature of {version.reference} is of another type: {kinds[0]!s:.80}."
        )
    return payload, signature, hint


def _check_statement(version: ModelVersion, payload: bytes) -> None:
    try:
        said = json.loads(payload)
        resources = {
            each["name"]: (each["algorithm"], each["digest"]) for each in said["predicate"]["resources"]
        }
        kinds = (said["_type"], said["predicateType"], len(said["predicate"]["resources"]))
    except (KeyError, TypeError, ValueError) as error:
        raise VerificationFailed(
            f"What was signed for {version.reference} is no statement about a model."
        ) from error
    wanted = {each["name"]: (each["algorithm"], each["digest"]) for each in _resources(version)}
    if kinds != (_STATEMENT, _PREDICATE, len(wanted)) or resources != wanted:
        differ = sorted(name for name in {*wanted, *resources} if wanted.get(name) != resources.get(name))
        raise VerificationFailed(
            f"The signature is about another model than {version.reference}: {', '.join(differ) or 'its kind'} differs."
        )


def _statement(version: ModelVersion) -> dict[str, Any]:
    resources = _resources(version)
    root = hashlib.sha256(b"".join(bytes.fromhex(each["digest"]) for each in resources)).hexdigest()
    return {
        "_type": _STATEMENT,
        "subject": [{"name": version.reference, "digest": {"sha256": root}}],
        "predicateType": _PREDICATE,
        "predicate": {"serialization": _SERIALIZATION, "resources": resources},
    }


def _resources(version: ModelVersion) -> list[dict[str, str]]:
    files = {
        artifact_name(version): version.artifact.removeprefix("sha256:"),
        RECORD: hashlib.sha256(_record(version)).hexdigest(),
    }
    return [{"name": name, "algorithm": "sha256", "digest": files[name]} for name in sorted(files)]


def _record(version: ModelVersion) -> bytes:
    return canonical_json(version.model_dump(mode="json", exclude_defaults=True))


def _read(folder: Path) -> ModelVersion:
    """Read a folder, and compare the artifact with the record: nothing else may be signed."""
    from genesis_workbench.core.identifiers import digest

    try:
        version = ModelVersion.model_validate_json((folder / RECORD).read_bytes())
        artifact = (folder / artifact_name(version)).read_bytes()
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{folder} is no folder of a model. Make it with: workbench models export NAME@VERSION FOLDER"
        ) from error
    if digest(artifact) != version.artifact:
        raise VerificationFailed(
            f"The artifact in {folder} is not that of {version.reference}. Export it again."
        )
    return version


def _encoded(payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)


def _public(pem: str) -> ec.EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except ValueError as error:
        raise InvalidInput("A trusted key in the site file is no public key in PEM.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise InvalidInput(
            "A trusted key in the site file is of another kind than elliptic curves P-256, P-384, P-521."
        )
    return key


def _hint(key: ec.EllipticCurvePublicKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def _hash(key: ec.EllipticCurvePublicKey) -> HashAlgorithm:
    from cryptography.hazmat.primitives import hashes

    known: dict[str, HashAlgorithm] = {
        "secp256r1": hashes.SHA256(),
        "secp384r1": hashes.SHA384(),
        "secp521r1": hashes.SHA512(),
    }
    if key.curve.name not in known:
        raise InvalidInput(f"The key is on the curve {key.curve.name}; use P-256, P-384 or P-521.")
    return known[key.curve.name]
