"""How the proxy faces people: what a certificate must be, and that nobody is reached in clear."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from traitlets.config import Config

from authority import Authority
from genesis_hub import doctor
from genesis_hub.front import Front
from genesis_hub.ports import Ports
from genesis_hub.secrets import Secrets
from genesis_hub.settings import Settings
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import load_site
from genesis_workbench.core.state import State

HOSTS = ("w.example.org", "*.w.example.org")


@pytest.fixture
def authority(tmp_path):
    made = Authority(tmp_path)
    made.sign(*HOSTS)
    return made


@pytest.fixture
def site(tmp_path, authority):
    """Return a function that reads a site file with these lines in its table of the hub."""

    def make(**more):
        given = {
            "address": "0.0.0.0",  # noqa: S104
            "public_url": "https://w.example.org",
            "origin_domain": "w.example.org",
            "certificate_file": str(authority.certificate),
            "key_file": str(authority.key),
            **more,
        }
        file = tmp_path / "site.toml"
        lines = [f'{key} = "{value}"' for key, value in given.items() if value]
        file.write_text("\n".join(['name = "x"', "[hub]", *lines]))
        return load_site(file)

    return make


def test_a_certificate_for_the_hosts_of_the_site_is_what_the_proxy_shows(site, authority):
    front = Front(site())
    front.check()
    assert front.left().days == 29
    options = front.proxy_options()
    assert options[options.index("--ssl-cert") + 1] == str(authority.certificate)
    assert options[options.index("--ssl-key") + 1] == str(authority.key)


@pytest.mark.parametrize(
    ("hosts", "days", "message"),
    [
        (["w.example.org"], 30, r"is not for \*\.w\.example\.org, by which people reach"),
        (["*.w.example.org", "other.org"], 30, r"is not for w\.example\.org, by"),
        (HOSTS, -1, r"ended on 20\d\d-\d\d-\d\d\. Renew it"),
    ],
)
def test_a_certificate_that_browsers_would_refuse_is_refused_first(site, authority, hosts, days, message):
    authority.sign(*hosts, days=days)
    with pytest.raises(InvalidInput, match=message):
        Front(site()).check()
    (told,) = doctor._certificate(site(), None)
    assert told.state == "fail"


def test_a_certificate_that_soon_ends_is_worth_a_note(site, authority):
    authority.sign(*HOSTS, days=5)
    (told,) = doctor._certificate(site(), None)
    assert (told.state, "holds for 4 more days" in told.found) == ("note", True)


def test_a_key_that_others_can_read_or_of_another_certificate_is_refused(site, authority, tmp_path):
    authority.key.chmod(0o640)
    with pytest.raises(InvalidInput, match="can be read by others"):
        Front(site()).check()
    (tmp_path / "another").mkdir()
    another = Authority(tmp_path / "another")
    another.sign(*HOSTS)
    with pytest.raises(InvalidInput, match="the key is that of the certificate"):
        Front(site(key_file=another.key)).check()
    with pytest.raises(InvalidInput, match="cannot be used"):
        Front(site(certificate_file=tmp_path / "nothing", key_file=another.key)).check()


def test_a_key_that_is_encrypted_is_refused_and_nobody_is_asked_for_its_password(site, authority):
    key = load_pem_private_key(authority.key.read_bytes(), None)
    authority.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
    )
    with pytest.raises(InvalidInput, match="not encrypted"):
        Front(site()).check()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"certificate_file": "", "key_file": "", "public_url": ""},
            "0.0.0.0, which others can reach, and http://",
        ),
        (
            {"certificate_file": "", "key_file": "", "public_url": "http://w.example.org"},
            "would travel in clear",
        ),
        ({"key_file": ""}, "belong together"),
        ({"public_url": "http://w.example.org"}, "let it begin with https://"),
    ],
)
def test_nobody_is_reached_in_clear(site, given, message):
    with pytest.raises(InvalidInput, match=message):
        site(**given)


def test_behind_a_proxy_that_speaks_tls_ours_is_plain_and_cookies_are_for_tls_only(site, tmp_path):
    behind = site(address="127.0.0.1", certificate_file="", key_file="")
    assert "--ssl-cert" not in Front(behind).proxy_options()
    config = Config()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENESIS_SITE", str(tmp_path / "site.toml"))
        Settings(behind, State(tmp_path), Secrets("a", "b", "00", "c"), Ports(1, 2, 3)).apply(config)
    assert config.JupyterHub.tornado_settings["cookie_options"] == {"secure": True}
    assert config.JupyterHub.cookie_host_prefix_enabled is True
    assert any("xsrf_cookie_kwargs" in each for each in config.Spawner.args)
