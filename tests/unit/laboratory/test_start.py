"""What is wrong with a site or a machine is told in a sentence when a gateway starts."""

from __future__ import annotations

import socket

import pytest

from genesis_workbench.core.errors import InvalidInput, Unavailable
from genesis_workbench.core.site import DeviceSection, LaboratorySection
from genesis_workbench.core.state import State
from genesis_workbench.experiments.instruments import address
from genesis_workbench.experiments.instruments.__main__ import _listener, main
from genesis_workbench.experiments.instruments.device import Device


def at(url):
    return LaboratorySection(name="lab", url=url)


def site(tmp_path, url):
    path = tmp_path / "site.toml"
    path.write_text(f'name = "here"\n[[laboratories]]\nname = "lab"\nurl = "{url}"\n')
    return ["--site", str(path), "--state", str(tmp_path / "state")]


def test_a_port_that_is_taken_is_told_and_no_traceback(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Unavailable, match="cannot listen at http"):
            _listener(at(url))
        assert main(["lab", *site(tmp_path, url)]) == 1
    assert "End what listens there" in capsys.readouterr().err


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_a_gateway_listens_on_the_loopback_of_ipv6(tmp_path):
    with _listener(at("http://[::1]:0")) as listener:
        assert listener.getsockname()[0] == "::1"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://10.1.2.3:8700", "loopback only"),
        ("http://127.0.0.1:many", "no address"),
        ("http://[::1", "no address"),
        ("127.0.0.1:8700", "loopback only"),
    ],
)
def test_an_address_that_is_none_of_this_machine_is_refused(url, words):
    with pytest.raises(InvalidInput, match=words):
        _listener(at(url))


def test_settings_that_an_adapter_cannot_use_are_told_with_its_device(tmp_path):
    (tmp_path / "actions.json").write_text('{"fly": {"description": "Fly."}}')
    settings = {"url": "http://127.0.0.1:9", "actions": str(tmp_path / "actions.json"), "simulated": True}
    settings["folder"] = str(tmp_path / "actions.json" / "in-a-file")
    with pytest.raises(
        InvalidInput, match="'madsci' of plate cannot be used with its settings: NotADirectoryError"
    ):
        Device(DeviceSection(name="plate", instrument="madsci", settings=settings))


def test_a_stop_of_a_laboratory_that_was_never_started_says_so(tmp_path, capsys):
    assert main(["stop", "lab", *site(tmp_path, "")]) == 1
    told = capsys.readouterr().err
    assert "was never started here" in told
    assert "use the switch on the device itself" in told
    for words in (["stop", "a", "b"], ["a", "b"]):
        with pytest.raises(SystemExit):
            main([*words, *site(tmp_path, "")])


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o606])
def test_a_token_that_other_accounts_can_read_or_write_is_refused(mode, tmp_path):
    path, state = tmp_path / "token", State(tmp_path)
    path.write_text("t" * 40)
    section = LaboratorySection(name="lab", token_file=str(path))
    path.chmod(mode)
    with pytest.raises(InvalidInput, match=rf"mode {mode:o}.*Run `chmod 600 {path}`"):
        address.token(section, state, make=True)
    path.chmod(0o600)
    assert address.token(section, state, make=True) == "t" * 40


@pytest.mark.parametrize(
    "option", ["--failure-rate=1.5", "--failure-rate=nan", "--time-scale=0", "--time-scale=-1"]
)
def test_options_of_the_simulated_devices_have_limits(option, capsys):
    with pytest.raises(SystemExit):
        main(["--simulated", option])
    assert "is not" in capsys.readouterr().err
