"""Certificates between machines: who is vouched for by whom, what is kept over a restart, and what is made anew."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from genesis_hub import internal_tls
from genesis_hub.internal_tls import InternalTls
from genesis_workbench.core import certificates
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import HubSection, ServersSection, Site


def site(spawner="container", **hub):
    settings = {
        "private_address": "10.20.0.1",
        "public_url": "https://hub.example.org",
        "origin_domain": "wb.example.org",
    }
    return Site(name="x", hub=HubSection(**{**settings, **hub}), servers=ServersSection(spawner=spawner))


@pytest.fixture
def tls(tmp_path):
    made = InternalTls(tmp_path / "internal-tls", site())
    made.prepare()
    return made


def names(pem):
    there = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return {str(each.value) for each in there.value}


def content(tls):
    return {path: path.read_bytes() for path in tls.store.rglob("*.[ck][re][ty]")}


def request(key, name="alice"):
    asked = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    )
    return asked.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("spawner", "address", "wanted", "found"),
    [
        ("local", "127.0.0.1", "auto", False),
        ("slurm", "127.0.0.1", "auto", False),
        ("slurm", "127.0.0.1", True, True),
        ("slurm", "10.20.0.1", "auto", True),
        ("container", "10.20.0.1", "auto", True),
        ("container", "10.20.0.1", False, False),
        ("kubernetes", "10.20.0.1", "auto", False),
        ("kubernetes", "10.20.0.1", False, False),
    ],
)
def test_what_leaves_the_machine_is_encrypted(spawner, address, wanted, found):
    assert site(spawner, private_address=address, internal_tls=wanted).internal_tls is found


@pytest.mark.parametrize(
    ("spawner", "why"), [("kubernetes", "certificates to pods"), ("local", "nothing leaves it")]
)
def test_where_it_cannot_be_it_is_refused_with_the_reason(spawner, why):
    with pytest.raises(ValidationError, match=why):
        site(spawner, internal_tls=True)


def test_every_address_of_a_machine_is_no_name_for_a_certificate():
    with pytest.raises(ValidationError, match=r"hub.private_address is 0\.0\.0\.0"):
        site(private_address="0.0.0.0", private_name="hub")  # noqa: S104
    assert site(private_address="0.0.0.0", private_name="hub", internal_tls=False)  # noqa: S104


def test_only_the_hubs_account_reads_it(tls):
    assert tls.store.parent.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tls.store.rglob("*.key"))
    assert len(list(tls.store.rglob("*.key"))) == 9


def test_jupyterhub_finds_everything_that_it_would_make(tls):
    from certipy import Certipy

    found = Certipy(store_dir=str(tls.store)).store
    for name in ("hub-internal", "proxy-api", "proxy-client"):
        files = found.get_record(name)["files"]
        context = ssl.create_default_context()
        context.load_cert_chain(files["cert"], files["key"])
    # As JupyterHub makes its bundles.
    trust = Certipy(store_dir=str(tls.store)).trust_from_graph({"hub-ca": ["notebooks-ca", "services-ca"]})
    assert set(trust) == {"hub-ca"}


def test_a_restart_keeps_everything(tls):
    before = content(tls)
    InternalTls(tls.store.parent, site()).prepare()
    assert content(tls) == before


def test_another_address_makes_the_certificates_that_name_it_anew_and_nothing_else(tls):
    before = content(tls)
    InternalTls(tls.store.parent, site(private_address="10.20.0.2")).prepare()
    changed = {path.parent.name for path, text in content(tls).items() if text != before[path]}
    assert changed == {"hub-internal", "workbench"}
    assert "10.20.0.2" in names((tls.store / "hub-internal/hub-internal.crt").read_bytes())


def test_a_moved_folder_is_found_where_it_is(tls, tmp_path):
    from certipy import Certipy

    moved = tls.store.parent.rename(tmp_path / "elsewhere")
    InternalTls(moved, site()).prepare()
    record = Certipy(store_dir=str(moved / "store")).store.get_record("hub-internal")
    assert record["files"]["key"].startswith(str(moved))


def test_a_key_that_is_lost_is_told_and_nothing_is_made_over_it(tls):
    (tls.store / "hub-ca/hub-ca.key").unlink()
    with pytest.raises(InvalidInput, match="Restore"):
        tls.prepare()


class Later(datetime):
    """A clock three years on."""

    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + timedelta(days=3 * 365)


def test_everything_is_renewed_in_the_second_half_of_its_life_and_authorities_keep_their_keys(
    tls, monkeypatch
):
    running = tls.server("alice", "10.0.0.3")
    before = content(tls)
    monkeypatch.setattr(internal_tls, "datetime", Later)
    tls.prepare()
    after = content(tls)
    for path, text in before.items():
        authority, key = path.parent.name.endswith("-ca"), path.suffix == ".key"
        assert (after[path] == text) == (authority and key), path
    # A server that runs since before trusts what the new authority signs, and the other way round.
    later = tls.server("bob", "10.0.0.4")
    old = x509.load_pem_x509_certificates(running.trusted)
    for certificate in x509.load_pem_x509_certificates(later.trusted):
        assert any(certificate.public_key() == each.public_key() for each in old)
    signer = x509.load_pem_x509_certificate((tls.store / "notebooks-ca/notebooks-ca.crt").read_bytes())
    x509.load_pem_x509_certificate(running.certificate).verify_directly_issued_by(signer)


def test_a_servers_certificate_names_its_person_and_its_machine_and_does_not_outlast_its_authority(tls):
    made = tls.server("alice", "10.0.0.3")
    assert names(made.certificate) == {"alice--user.wb.example.org", "10.0.0.3"}
    ends = x509.load_pem_x509_certificate(made.certificate).not_valid_after_utc
    assert timedelta(days=364) < ends - datetime.now(UTC) < timedelta(days=366)
    assert "PRIVATE" not in repr(made)
    long = tls.certify(
        request(ec.generate_private_key(ec.SECP256R1())), "alice", "10.0.0.3", timedelta(days=9999)
    )
    authority = x509.load_pem_x509_certificate((tls.store / "notebooks-ca/notebooks-ca.crt").read_bytes())
    assert (
        x509.load_pem_x509_certificate(long.certificate).not_valid_after_utc == authority.not_valid_after_utc
    )
    assert long.key == b""


def test_a_request_gets_the_names_that_the_hub_knows_not_those_that_it_asks_for(tls):
    key = ec.generate_private_key(ec.SECP256R1())
    made = tls.certify(request(key, "hub.example.org"), "bob", "10.0.0.3", timedelta(hours=1))
    certificate = x509.load_pem_x509_certificate(made.certificate)
    assert certificate.subject.rfc4514_string() == "CN=bob"
    assert names(made.certificate) == {"bob--user.wb.example.org", "10.0.0.3"}
    assert certificate.public_key() == key.public_key()


@pytest.mark.parametrize(
    ("asked", "address"),
    [
        ("nothing", "10.0.0.3"),
        (None, "hub.example.org"),
        (None, ""),
        (request(rsa.generate_private_key(65537, 2048)), "10.0.0.3"),
    ],
)
def test_a_request_that_is_none_is_refused(tls, asked, address):
    asked = request(ec.generate_private_key(ec.SECP256R1())) if asked is None else asked
    with pytest.raises(InvalidInput, match="certificate"):
        tls.certify(asked, "bob", address, timedelta(hours=1))


def shake(listening, calling, name):
    """Return whether two contexts come to speak with each other, the caller looking for `name`."""
    here, there = socket.socketpair()
    outcome = []

    def answer():
        try:
            with listening.wrap_socket(here, server_side=True) as wrapped:
                wrapped.sendall(b"x")
        except OSError as error:
            outcome.append(error)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with calling.wrap_socket(there, server_hostname=name) as wrapped:
            return wrapped.recv(1) == b"x"  # in TLS 1.3 a caller learns here that it is refused
    except OSError:
        return False
    finally:
        there.close()
        thread.join(10)
        here.close()


@pytest.fixture
def parties(tls, tmp_path, monkeypatch):
    """Return a function that gives the contexts of a person's server, listening and calling."""

    def party(person, address):
        files = tls.server(person, address)
        for variable, text in (
            (certificates.KEY, files.key),
            (certificates.CERTIFICATE, files.certificate),
            (certificates.TRUSTED, files.trusted),
        ):
            path = tmp_path / f"{person}-{variable}"
            path.write_bytes(text)
            monkeypatch.setenv(variable, str(path))
        return certificates.listening(), certificates.calling()

    return party


def test_who_speaks_with_whom(tls, parties, monkeypatch):
    alice, alice_calls = parties("alice", "10.0.0.3")
    _, bob_calls = parties("bob", "10.0.0.3")
    hub_calls = tls.calling_servers()
    assert shake(alice, hub_calls, "10.0.0.3")
    assert shake(alice, hub_calls, "alice--user.wb.example.org")
    # Not at another address, and not in the name of another person on the same machine.
    assert not shake(alice, hub_calls, "10.0.0.4")
    assert not shake(alice, hub_calls, "bob--user.wb.example.org")
    # Servers answer hub and proxy, no other server, and nobody without a certificate of ours.
    assert not shake(alice, bob_calls, "10.0.0.3")
    stranger = ssl.create_default_context()
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    assert not shake(alice, stranger, "10.0.0.3")
    # What a server takes for the hub is vouched for by the hub's authority, at the hub's address.
    for variable, path in tls.service_variables().items():
        monkeypatch.setenv(variable, path)
    service = certificates.listening(tls.service_options()[1])
    assert shake(service, alice_calls, "10.20.0.1")
    assert not shake(service, alice_calls, "10.0.0.3")
    assert not shake(alice, alice_calls, "10.0.0.3")
    assert not shake(service, stranger, "10.20.0.1")
    assert shake(service, tls.calling_hub(), "10.20.0.1")
    assert not shake(alice, tls.calling_hub(), "10.0.0.3")


def test_the_hub_answers_only_whom_this_installation_vouches_for_and_reads_the_systems_authorities_once(
    tls, monkeypatch
):
    from jupyterhub import app, user, utils

    for module in (app, user):
        monkeypatch.setattr(module, "make_ssl_context", utils.make_ssl_context)
    internal_tls.own_contexts()
    pair = [str(tls.store / f"hub-internal/hub-internal.{each}") for each in ("key", "crt")]
    trusted = str(tls.store.parent / "trusted-servers.pem")
    listening = app.make_ssl_context(*pair, cafile=trusted, purpose=ssl.Purpose.CLIENT_AUTH)
    assert listening.verify_mode is ssl.CERT_REQUIRED
    assert listening.cert_store_stats()["x509"] == 1
    calling = app.make_ssl_context(*pair, trusted)
    assert calling.check_hostname
    assert user.make_ssl_context(*pair, trusted) is calling
    assert user.make_ssl_context("", "", "") is None


def test_a_servers_questions_to_the_hub_share_a_context(parties, monkeypatch):
    from jupyterhub.services import auth

    monkeypatch.setattr(auth, "make_ssl_context", auth.make_ssl_context)
    certificates.shared(auth)  # nothing is encrypted yet
    assert auth.make_ssl_context("", "") is None
    parties("alice", "10.0.0.3")
    certificates.shared(auth)
    shared = auth.make_ssl_context("key", "certificate", cafile="trusted")
    assert shared is auth.make_ssl_context("key", "certificate", cafile="trusted")
    assert shared.cert_store_stats()["x509"] == 2
