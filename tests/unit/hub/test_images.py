"""What is said of an image, and the bill of materials beside it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from genesis_hub import resources
from genesis_hub.images import _faults


@pytest.fixture
def build(monkeypatch):
    spec = importlib.util.spec_from_file_location("build_images", resources.build_script())
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "build_images", module)  # where dataclasses look for annotations
    spec.loader.exec_module(module)
    return module


def test_an_image_that_runs_as_root_or_tells_of_its_build_is_refused():
    assert list(_faults({"Config": {"User": "1000:1000", "Env": ["PATH=/bin", "HOME=/home/user"]}})) == []
    told = list(
        _faults({"Config": {"User": "", "Env": ["PIP_INDEX_URL=https://user:pw@host/simple", "API_TOKEN=x"]}})
    )
    assert told[0].startswith("it runs as root")
    assert "PIP_INDEX_URL" in told[1]
    assert "API_TOKEN" in told[2]
    assert "pw" not in " ".join(told)


def test_the_bill_names_every_package_and_nothing_of_the_build(build, tmp_path, monkeypatch):
    installed = {"pypi": [["Jinja2", "3.1.6"]], "deb/debian": [["libstdc++6", "12.2.0-14"]]}
    answers = {"image": "sha256:" + "a" * 64, "run": json.dumps(installed)}
    monkeypatch.setattr(build, "output", lambda command: answers[command[1]])
    for _ in range(2):
        build.write_bill("podman", tmp_path, "localhost/genesis-workbench/user:dev")
        bill = json.loads((tmp_path / "user-dev.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert [each["purl"] for each in bill["components"]] == [
        "pkg:pypi/jinja2@3.1.6",
        "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14",
    ]
    assert str(tmp_path) not in json.dumps(bill)


def test_a_site_adds_packages_to_the_user_image_and_nothing_else(build, tmp_path, monkeypatch, capsys):
    given = ["user", "--with", "genesis-workbench[training]", "--with", "torch==2.13.0+cpu"]
    options = build.parse(given)
    asked = []
    monkeypatch.setattr(build, "run", asked.append)
    monkeypatch.setattr(build, "uv", lambda: "uv")
    build.lock(tmp_path, build.Base("base", "3.11.2", "x86_64"), "user", options.added)
    lines = Path(asked[0][-1]).read_text().splitlines()
    assert lines[-2:] == ["genesis-workbench[training]", "torch==2.13.0+cpu"]
    assert any(line.startswith("genesis-workbench[laptop") for line in lines)
    for wrong, told in (
        (["hub", "--with", "torch"], "which is not built here"),
        (["user", "--with=--index-url https://elsewhere.example"], "takes a package as pip names it"),
        (["user", "--with=torch\n--index-url https://elsewhere.example"], "takes a package as pip names it"),
    ):
        with pytest.raises(SystemExit):
            build.parse(wrong)
        assert told in capsys.readouterr().err
