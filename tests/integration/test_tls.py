"""A workbench that speaks TLS with a certificate of its site: what people get, and what happens when it is renewed."""

from __future__ import annotations

import socket
import ssl

import httpx
import pytest
from cryptography import x509

from authority import Authority
from harness import Browser, Workbench, free_ports, run_in_kernel

pytestmark = pytest.mark.timeout(300)
SITE = """
name = "tls"
[hub]
port = {port}
public_url = "https://wb.localhost:{port}"
origin_domain = "wb.localhost"
certificate_file = "{certificate}"
key_file = "{key}"
[catalog]
sources = []
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def workbench(authority, tmp_path_factory):
    authority.sign("wb.localhost", "*.wb.localhost")
    (port,) = free_ports(1)
    folder = tmp_path_factory.mktemp("tls")
    site = folder / "site.toml"
    site.write_text(SITE.format(port=port, certificate=authority.certificate, key=authority.key))
    running = Workbench(folder / "state", site)
    running.domain, running.trusted = "wb.localhost", ssl.create_default_context(cafile=authority.file)
    running.start(port)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def admin(workbench):
    browser = Browser(workbench)
    browser.sign_in("admin", workbench.passwords["admin"])
    browser.start_server("admin")
    yield browser
    browser.close()


def shown(workbench):
    """Return the number of the certificate that the proxy shows; None where nobody listens now."""
    try:
        with (
            socket.create_connection(("127.0.0.1", workbench.port), timeout=10) as link,
            workbench.trusted.wrap_socket(link, server_hostname="wb.localhost") as speaking,
        ):
            return x509.load_der_x509_certificate(speaking.getpeercert(binary_form=True)).serial_number
    except ConnectionError:
        return None


def test_somebody_works_by_tls_and_no_cookie_ever_travels_in_clear(workbench, admin):
    lab = admin.get(f"{workbench.user_origin('admin')}/user/admin/lab")
    # The door of a dashboard that is not there: the way to it leads through a sign-in at the service.
    door = f"https://dsh-{0:016x}--dash.wb.localhost:{workbench.port}/"
    workbench.until(lambda: "No such dashboard" in admin.get(door).text)  # the service starts after the hub
    dashboard = admin.get(door)
    assert (lab.status_code, dashboard.status_code) == (200, 404)
    visited = [each.url for answer in (lab, dashboard) for each in (*answer.history, answer)]
    assert {url.scheme for url in visited} == {"https"}
    cookies = list(admin.http.cookies.jar)
    assert [each.name for each in cookies if not each.secure] == []
    # Nobody else's origin can put a cookie of this name: it is of this host alone.
    assert "__Host-jupyterhub-hub-login" in {each.name for each in cookies}
    token = admin.make_token("admin", note="test", scopes=["access:servers!user=admin", "self"])
    assert run_in_kernel(workbench, "admin", token, "print(6 * 7)").strip() == "42"
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"http://127.0.0.1:{workbench.port}/hub/login", trust_env=False)


def test_whoever_signs_out_has_no_cookie_left_that_opens_anything(workbench):
    workbench.add("erin")
    browser = Browser(workbench)
    browser.sign_in("erin", workbench.passwords["erin"])
    assert browser.get(f"{workbench.public_url}/hub/home").url.path == "/hub/home"
    browser.get(f"{workbench.public_url}/hub/logout")
    assert browser.get(f"{workbench.public_url}/hub/home").url.path == "/hub/login"
    browser.close()


def test_a_renewed_certificate_is_taken_up_and_a_wrong_one_is_not(workbench, admin, authority):
    before = shown(workbench)
    authority.sign("other.localhost")
    workbench.until(
        lambda: any("is not for *.wb.localhost and wb.localhost" in line for line in workbench.output)
    )
    assert shown(workbench) == before
    renewed = authority.sign("wb.localhost", "*.wb.localhost")
    workbench.until(lambda: shown(workbench) == renewed)
    # The server is the same one, at once.
    home = f"{workbench.user_origin('admin')}/user/admin/api/status"
    workbench.until(lambda: admin.get(home).status_code == 200)
    assert admin.hub("GET", "users/admin").json()["servers"][""]["ready"]
    told = workbench.run("doctor", "--site", str(workbench._site))
    assert "holds for 29 more days" in told
    assert "FAIL" not in told
