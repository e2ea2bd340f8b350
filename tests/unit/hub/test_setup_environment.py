"""`make setup` refuses in one sentence what cannot work, and does nothing where nothing is to be done."""

from __future__ import annotations

import ast
import importlib.util
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "hub_config/setup_environment.py"


@pytest.fixture
def setup():
    spec = importlib.util.spec_from_file_location("setup_environment", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def node(folder, version):
    for name in ("node", "npm"):
        program = folder / name
        program.write_text(f"#!/bin/sh\necho v{version}\n")
        program.chmod(0o755)
    return str(folder)


def test_an_old_python_can_read_the_script_and_is_told_which_is_needed(setup):
    ast.parse(SCRIPT.read_text(), feature_version=(3, 6))
    with pytest.raises(setup.Refusal, match=r"Python 3\.11\.2; the workbench needs 3\.11\.5 or newer"):
        setup.check_python((3, 11, 2))
    setup.check_python((3, 11, 5))
    setup.check_python((3, 14, 0))


def test_a_library_that_is_missing_is_named(setup):
    setup.check_library("libc.so.6")
    with pytest.raises(setup.Refusal, match=r"apt-get install libstdc\+\+6"):
        setup.check_library("libnowhere.so.6")


def test_a_folder_that_cannot_be_written_or_is_full_is_named(setup, tmp_path, monkeypatch):
    setup.check_folder(str(tmp_path))
    with pytest.raises(setup.Refusal, match="cannot be written"):
        setup.check_folder(str(tmp_path / "missing"))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(setup.shutil, "disk_usage", lambda _: usage._replace(free=2**30))
    with pytest.raises(setup.Refusal, match=r"1\.0 GB free .* needs 3 GB"):
        setup.check_folder(str(tmp_path))


def test_a_node_that_is_too_old_is_not_used(setup, tmp_path):
    assert not setup.usable_node(node(tmp_path, "18.19.0"))
    assert setup.usable_node(node(tmp_path, "22.3.0"))
    (tmp_path / "npm").unlink()
    assert not setup.usable_node(str(tmp_path))
    assert setup.node_version("/nowhere/node") == 0


def test_it_is_ready_until_what_it_installs_changes(setup, tmp_path):
    for name in setup.FINGERPRINTED:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a")
    assert not setup.ready(str(tmp_path))
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/ready").write_text(setup.fingerprint(str(tmp_path)) + "\n")
    assert setup.ready(str(tmp_path))
    (tmp_path / "constraints.txt").write_text("b")
    assert not setup.ready(str(tmp_path))


def test_a_step_that_fails_says_its_last_words_and_what_to_do(setup, tmp_path):
    with pytest.raises(setup.Refusal, match=r"Fetching failed(.|\n)*no such host(.|\n)*run make again"):
        setup.Setup(str(tmp_path)).call("Fetching", ["sh", "-c", "echo no such host; exit 3"])
    with pytest.raises(setup.Refusal, match="cannot be run"):
        setup.Setup(str(tmp_path)).call("Fetching", ["/nowhere/tool"])
