"""The corpus of artifacts beside ModelScan, the scanner that others put in front of their registries.

A scanner looks for what it knows to be bad, the zoo takes what it knows to be good. So whatever ModelScan flags must be
refused here too, and it is written down what it lets through.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from genesis_workbench.core.errors import GenesisError
from genesis_workbench.models.selftest import examine, format_of
from unit.models import corpus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # installs a scanner, which reads every artifact


def refused(case):
    try:
        examine(case.version(), case.data, format_of(case.format))
    except GenesisError:
        return True
    return False


@pytest.fixture(scope="module")
def flagged(tmp_path_factory, modelscan):
    """Return the names of the cases that ModelScan calls unsafe, benign and hostile."""
    folder = tmp_path_factory.mktemp("corpus")
    cases = [*corpus.benign(), *corpus.hostile(folder / "canary")]
    for case in cases:
        suffix = ".pkl" if case.name.startswith("pickle") else format_of(case.format).suffix
        (folder / f"{case.name}{suffix}").write_bytes(case.data)
    command = [str(modelscan), "-p", str(folder), "-r", "json", "-o", str(folder / "report.json")]
    subprocess.run(command, capture_output=True, check=False, timeout=240)
    report = json.loads((folder / "report.json").read_text())
    assert not (folder / "canary").exists()
    return cases, {Path(issue["source"].split(":")[0]).stem for issue in report["issues"]}


def test_what_the_scanner_flags_is_refused_here_and_more(flagged):
    cases, unsafe = flagged
    hostile = [
        case for case in cases if not case.quarantined and case.name not in {c.name for c in corpus.benign()}
    ]
    passed = {case.name for case in hostile} - unsafe
    assert unsafe, "the scanner found nothing: it did not look"
    assert all(refused(case) for case in hostile)
    assert "pickle-write-text-5" in passed, "ModelScan has learnt pathlib: change facts and docs"
    print(
        f"ModelScan flags {len(hostile) - len(passed)} of {len(hostile)} hostile artifacts; the zoo refuses all."
    )


def test_nobody_flags_what_is_benign(flagged):
    _, unsafe = flagged
    names = {case.name for case in corpus.benign()}
    assert not names & unsafe
