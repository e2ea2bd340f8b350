"""Sign-in by a real directory (OpenLDAP's slapd) on loopback, over TLS."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ldap3 import MODIFY_ADD, MODIFY_DELETE, Connection, Server

from authority import Authority
from genesis_hub.ldap import Directory, LdapAuthenticator, configure
from genesis_workbench.core.errors import InvalidInput, Unavailable
from genesis_workbench.core.site import LdapSection
from harness import Browser, Workbench, free_ports

# ldap3 drops a socket that was refused without closing it.
pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning")]
BASE = "dc=example,dc=org"
KEEPER = f"cn=keeper,{BASE}"
SLAPD = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
TLSCertificateFile {folder}/site.crt
TLSCertificateKeyFile {folder}/site.key
security {security}
database mdb
suffix "{base}"
rootdn "{keeper}"
rootpw keepers-word
directory {folder}/data
"""
PERSON = """
dn: {rdn},ou=people,{base}
objectClass: inetOrgPerson
cn: {name}
sn: {name}
uid: {name}
userPassword: {password}
"""
LDIF = """
dn: {base}
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=people,{base}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{base}
objectClass: organizationalUnit
ou: groups
{people}
dn: cn=scientists,ou=groups,{base}
objectClass: groupOfNames
cn: scientists
member: uid=alice,ou=people,{base}
member: uid=keep,ou=people,{base}
member: cn=Odd (x)*,ou=people,{base}

dn: cn=solar,ou=groups,{base}
objectClass: posixGroup
cn: solar
gidNumber: 500
memberUid: alice

dn: cn=keepers,ou=groups,{base}
objectClass: groupOfNames
cn: keepers
member: uid=keep,ou=people,{base}

dn: cn=stewards,ou=groups,{base}
objectClass: groupOfNames
cn: stewards
member: uid=alice,ou=people,{base}
"""
PEOPLE = {
    "uid=alice": ("alice", "alices-word"),
    "uid=bob": ("bob", "bobs-word"),
    "uid=keep": ("keep", "keeps-word"),
    "cn=Odd (x)*": ("odd(x)*", "odds-word"),
}


class Slapd:
    """One directory in a process of its own."""

    def __init__(self, folder: Path, security: str = "ssf=128") -> None:
        (folder / "data").mkdir(parents=True)
        self.folder, authority = folder, Authority(folder)
        authority.sign("127.0.0.1")
        self.ca = authority.file
        self.secure, self.plain = free_ports(2)
        text = SLAPD.format(folder=folder, base=BASE, keeper=KEEPER, security=security)
        (folder / "slapd.conf").write_text(text)
        people = "\n".join(
            PERSON.format(rdn=rdn, name=name, password=password, base=BASE)
            for rdn, (name, password) in PEOPLE.items()
        )
        load = ["/usr/sbin/slapadd", "-f", str(folder / "slapd.conf")]
        subprocess.run(
            load, input=LDIF.format(base=BASE, people=people), text=True, check=True, capture_output=True
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        listen = f"ldaps://127.0.0.1:{self.secure} ldap://127.0.0.1:{self.plain}"
        command = ["/usr/sbin/slapd", "-f", str(self.folder / "slapd.conf"), "-h", listen, "-d", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not listens(self.secure):
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def change(self, group: str, how: str, member: str) -> None:
        server = Server("127.0.0.1", self.secure, use_ssl=True)
        with Connection(server, KEEPER, "keepers-word", auto_bind=True) as connection:
            dn = f"uid={member},ou=people,{BASE}"
            assert connection.modify(f"cn={group},ou=groups,{BASE}", {"member": [(how, [dn])]}), (
                connection.result
            )


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def slapd(tmp_path_factory):
    if not Path("/usr/sbin/slapd").exists():
        if os.environ.get("REQUIRE_SLAPD") == "1":
            pytest.fail("slapd is missing: apt-get install slapd")
        pytest.skip("slapd is missing: apt-get install slapd")
    # A short path: slapd is confined to some places where AppArmor is on, and /tmp is one of them.
    folder = tmp_path_factory.mktemp("ldap") / "d"
    made = Slapd(folder)
    yield made
    made.stop()
    shutil.rmtree(folder)


@pytest.fixture
def section(slapd, tmp_path):
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("keepers-word\n")
    return LdapSection(
        url=f"ldaps://127.0.0.1:{slapd.secure}",
        ca_file=str(slapd.ca),
        bind_dn=KEEPER,
        bind_password_file=str(secret),
        people_base=f"ou=people,{BASE}",
        groups_base=f"ou=groups,{BASE}",
        allowed_groups=["scientists"],
        admin_groups=["keepers"],
    )


@pytest.mark.parametrize("scheme", ["ldaps", "ldap"])
def test_a_right_password_gets_in_over_tls_and_groups_of_both_kinds_count(slapd, section, scheme):
    port = {"ldaps": slapd.secure, "ldap": slapd.plain}[scheme]
    directory = Directory(section.model_copy(update={"url": f"{scheme}://127.0.0.1:{port}"}))
    found = directory.check("alice", "alices-word")
    assert found.name == "alice"
    assert found.groups == {"scientists", "solar"}  # nobody is a steward by a group of that name
    assert directory.check("alice", "bobs-word") is None
    assert directory.check("alice", "") is None
    assert directory.check("nobody", "alices-word") is None


@pytest.mark.parametrize("name", ["*", "a*", "alice)(uid=*", "al\\ice", "alice\x00", "*)(objectClass=*"])
def test_a_name_is_a_name_and_no_question(section, name):
    assert Directory(section).check(name, "alices-word") is None


def test_a_person_with_an_odd_place_in_the_directory_is_found_in_their_groups(section):
    found = Directory(section).check("odd(x)*", "odds-word")
    assert found.groups == {"scientists"}


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # ldap3 drops the refused socket unclosed
def test_a_directory_that_cannot_be_trusted_gets_no_password(section, slapd, tmp_path):
    other = section.model_copy(update={"ca_file": str(Authority(tmp_path).file)})
    with pytest.raises(Unavailable):
        Directory(other).check("alice", "alices-word")
    by_name = section.model_copy(update={"url": f"ldaps://localhost:{slapd.secure}"})
    with pytest.raises(Unavailable):
        Directory(by_name).check("alice", "alices-word")


async def test_whoever_leaves_the_group_is_out_and_an_absent_directory_takes_nobodys_rights(section, slapd):
    authenticator = LdapAuthenticator(section=section)

    async def nothing():
        return None

    alice = SimpleNamespace(name="alice", admin=False, groups=[], get_auth_state=nothing)
    asked = {"username": "Alice", "password": "alices-word"}
    assert (await authenticator.authenticate(None, asked))["groups"] == ["scientists", "solar"]
    assert await authenticator.authenticate(None, {"username": "bob", "password": "bobs-word"}) is None
    keeper = await authenticator.authenticate(None, {"username": "keep", "password": "keeps-word"})
    assert keeper["admin"]
    assert "stewards" in keeper["groups"]
    assert (await authenticator.refresh_user(alice))["groups"] == ["scientists", "solar"]
    slapd.change("scientists", MODIFY_DELETE, "alice")
    assert await authenticator.refresh_user(alice) is False
    slapd.change("scientists", MODIFY_ADD, "alice")
    slapd.stop()
    try:
        assert await authenticator.refresh_user(alice) is True
        assert await authenticator.authenticate(None, asked) is None
    finally:
        slapd.start()
    deadline = time.monotonic() + 60
    while (fresh := await authenticator.refresh_user(alice)) is True:  # it has only just come back
        assert time.monotonic() < deadline
    assert fresh["name"] == "alice"


async def test_guessing_is_stopped(section):
    authenticator = LdapAuthenticator(section=section)
    for _ in range(10):
        await authenticator.authenticate(None, {"username": "alice", "password": "wrong"})
    assert await authenticator.authenticate(None, {"username": "alice", "password": "alices-word"}) is None


def test_settings_that_are_missing_or_unsafe_are_refused(section):
    from traitlets.config import Config

    for change, words in (
        ({"url": ""}, "people.ldap.url is missing"),
        ({"url": "http://ldap.example.org"}, "It looks like 'ldaps"),
        ({"people_base": ""}, "people_base is missing"),
        ({"bind_password_file": "/nowhere"}, "cannot be read"),
    ):
        with pytest.raises(InvalidInput, match=words):
            configure(Config(), section.model_copy(update=change))
    Path(section.bind_password_file).chmod(0o644)
    with pytest.raises(InvalidInput, match="can be read by others"):
        configure(Config(), section)


def test_a_person_signs_in_at_the_hub(section, tmp_path):
    lines = [f"{key} = {value!r}" for key, value in section.model_dump(exclude_defaults=True).items()]
    site = tmp_path / "site.toml"
    table = "\n".join(lines)
    site.write_text(
        f'name = "ldap"\n[people]\nauthenticator = "ldap"\n[people.ldap]\n{table}\n[catalog]\nsources = []\n'
    )
    with Workbench(tmp_path / "state", site) as workbench:
        alice = Browser(workbench)
        assert alice.sign_in("alice", "wrong").status_code == 403
        assert str(alice.sign_in("alice", "alices-word").url).endswith("/hub/home")
        assert set(alice.hub("GET", "users/alice").json()["groups"]) == {"scientists", "solar"}
        alice.close()
        for file in workbench.state.rglob("*"):
            if file.is_file() and not file.is_symlink():
                assert b"alices-word" not in file.read_bytes()
                assert b"keepers-word" not in file.read_bytes()
