"""The proposers that need torch, in an environment that has them: they keep the whole contract, and nothing is skipped."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .conftest import ROOT, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TESTS = ("tests/contract/test_proposers.py", "tests/unit/experiments/test_torch_proposers.py")


@pytest.mark.parametrize("name", ["ax", "baybe"])
def test_it_keeps_the_whole_contract(name: str, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    options = ["-q", "-p", "no:cacheprovider", "-k", name, f"--junitxml={report}", "--durations=10"]
    done = subprocess.run(
        [str(environment("proposers")), "-m", "pytest", *options, *TESTS],
        capture_output=True, text=True, check=False, timeout=1700, cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    [suite] = ElementTree.parse(report).getroot().iter("testsuite")  # noqa: S314 - pytest wrote it
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("0", "0", "0")
    assert int(suite.get("tests", 0)) > 20  # the contract, and what is said of each beside it
    print(done.stdout[-1500:])
