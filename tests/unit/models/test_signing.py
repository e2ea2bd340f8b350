"""The site's signature: by a key that lies elsewhere, verified where the site demands it."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from genesis_workbench import models
from genesis_workbench.core.errors import Conflict, InvalidInput, PermissionRefused, VerificationFailed
from genesis_workbench.core.site import ModelsSection, Site
from genesis_workbench.models import signing

from .conftest import PEOPLE


def key_pair(curve=None):
    private = ec.generate_private_key(curve or ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture(scope="module")
def site_key():
    return key_pair()


@pytest.fixture
def signed(register, tiny, tmp_path, site_key):
    """A version, and its signature by the site's key."""
    version = register()
    signing.write(version, tiny, tmp_path / "export")
    return version, signing.sign(tmp_path / "export", site_key[0])


def changed(bundle, *path, to):
    """Return a bundle with one value changed."""
    made = json.loads(json.dumps(bundle))
    at = made
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = to
    return made


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_what_a_trusted_key_signed_is_verified(register, tiny, tmp_path, curve):
    version = register()
    private, public = key_pair(curve)
    signing.write(version, tiny, tmp_path / "export")
    bundle = signing.sign(tmp_path / "export", private)
    signing.verify(version, bundle, [key_pair()[1], public])


def test_an_unknown_key_is_named_and_refused(signed, site_key):
    version, bundle = signed
    hint = bundle["verificationMaterial"]["publicKey"]["hint"][:16]
    with pytest.raises(VerificationFailed, match=f"signed by the key {hint}, which this site does not trust"):
        signing.verify(version, bundle, [key_pair()[1]])
    with pytest.raises(VerificationFailed, match="It trusts: none"):
        signing.verify(version, bundle, [])
    with pytest.raises(VerificationFailed, match="has no signature"):
        signing.verify(version, None, [site_key[1]])


def test_a_signature_of_another_version_or_record_is_refused(signed, register, site_key):
    version, bundle = signed
    other = register(title="Other")
    with pytest.raises(VerificationFailed, match=r"another model than tiny@2: record\.json differs"):
        signing.verify(other, bundle, [site_key[1]])
    lying = version.model_copy(update={"artifact": "sha256:" + "0" * 64})
    with pytest.raises(VerificationFailed, match=r"model\.onnx, record\.json differs"):
        signing.verify(lying, bundle, [site_key[1]])


def test_a_payload_that_was_changed_is_refused(signed, site_key):
    version, bundle = signed
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
    forged = base64.b64encode(payload.replace(b"tiny@1", b"tiny@9")).decode()
    with pytest.raises(VerificationFailed, match="is wrong"):
        signing.verify(version, changed(bundle, "dsseEnvelope", "payload", to=forged), [site_key[1]])


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (["mediaType"], "text/plain"),
        (["dsseEnvelope", "payloadType"], "text/plain"),
        (["dsseEnvelope", "payload"], "no base64 \u2603"),
        (["dsseEnvelope", "signatures"], []),
        (["dsseEnvelope", "signatures", 0, "sig"], 7),
        (["verificationMaterial"], None),
    ],
)
def test_what_is_no_signature_is_refused_with_words(signed, site_key, path, to):
    version, bundle = signed
    with pytest.raises(VerificationFailed, match=r"no bundle of OpenSSF|another type"):
        signing.verify(version, changed(bundle, *path, to=to), [site_key[1]])


def test_keys_of_other_kinds_are_refused(signed, tmp_path):
    version, bundle = signed
    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(InvalidInput, match="another kind"):
        signing.verify(version, bundle, [public])
    with pytest.raises(InvalidInput, match="no public key"):
        signing.verify(version, bundle, ["hello"])
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InvalidInput, match="another kind"):
        signing.sign(tmp_path / "export", pem)
    with pytest.raises(InvalidInput, match="P-256, P-384 or P-521"):
        signing.sign(tmp_path / "export", key_pair(ec.SECP256K1())[0])
    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")
    )
    with pytest.raises(InvalidInput, match="password"):
        signing.sign(tmp_path / "export", locked)
    assert signing.sign(tmp_path / "export", locked, b"word")


def test_only_a_folder_whose_artifact_is_the_records_is_signed(signed, tmp_path, site_key):
    (tmp_path / "export/model.onnx").write_bytes(b"other")
    with pytest.raises(VerificationFailed, match="not that of tiny@1"):
        signing.sign(tmp_path / "export", site_key[0])
    with pytest.raises(InvalidInput, match="no folder of a model"):
        signing.sign(tmp_path, site_key[0])


def test_a_signature_is_attached_by_who_keeps_the_name_and_only_if_it_is_good(zoo_of, zoo, signed, site_key):
    _, bundle = signed
    zoo._trusted = (site_key[1],)
    theirs, cleo = zoo_of("cleo")
    with pytest.raises(PermissionRefused):
        theirs.attach_signature("tiny@1", bundle, cleo)
    mine, ada = zoo_of("ada")
    with pytest.raises(VerificationFailed, match="no bundle"):
        mine.attach_signature("tiny@1", {}, ada)
    assert mine.attach_signature("tiny@1", bundle, ada).standing.signature == bundle
    assert mine.history("tiny", ada)[-1]["what"] == "signed"
    zoo._trusted = ()
    with pytest.raises(VerificationFailed, match="does not trust"):
        mine.attach_signature("tiny@1", bundle, ada)


def test_where_the_site_demands_it_nothing_unsigned_is_loaded(zoo, signed, site_key, monkeypatch, tmp_path):
    _, bundle = signed
    site = Site(name="t", models=ModelsSection(trusted_keys=[site_key[1]], require_signature=True))
    zoo._trusted = tuple(site.models.trusted_keys)
    monkeypatch.setattr("genesis_workbench.core.site.this_site", lambda: site)
    monkeypatch.setattr(models, "_zoo", lambda: zoo)
    monkeypatch.setattr(models, "_person", lambda: PEOPLE["ada"])
    with pytest.raises(VerificationFailed, match="loads signed models only"):
        models.model("tiny@1")
    (tmp_path / "tiny.sig").write_text(json.dumps(bundle))
    models.attach_signature("tiny@1", tmp_path / "tiny.sig")
    assert float(models.model("tiny@1")(a=1, b=1)) == 3
    # The key is no longer trusted: what it signed is refused from then on.
    other = site.models.model_copy(update={"trusted_keys": [key_pair()[1]]})
    monkeypatch.setattr(
        "genesis_workbench.core.site.this_site", lambda: site.model_copy(update={"models": other})
    )
    with pytest.raises(VerificationFailed, match="does not trust"):
        models.model("tiny@1")
    with pytest.raises(InvalidInput, match="cannot be read"):
        models.attach_signature("tiny@1", tmp_path / "nothing.sig")


def test_a_version_is_exported_once(zoo, register, tiny, monkeypatch, tmp_path):
    register()
    monkeypatch.setattr(models, "_zoo", lambda: zoo)
    monkeypatch.setattr(models, "_person", lambda: PEOPLE["ada"])
    folder = models.export("tiny@1", tmp_path / "out")
    assert (folder / "model.onnx").read_bytes() == tiny
    assert models.ModelVersion.model_validate_json((folder / "record.json").read_bytes()) == zoo.get(
        "tiny@1", PEOPLE["ada"]
    )
    with pytest.raises(Conflict, match="already"):
        models.export("tiny@1", folder)
