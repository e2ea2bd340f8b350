"""A process is told from all others that ever have its number."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from genesis_workbench.core.processes import identity, is_of_here, lives


def test_a_process_lives_until_it_has_ended():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        kept = json.loads(json.dumps(identity(process.pid)))
        assert lives(kept)
        process.stdin.close()
    assert not lives(kept)
    assert identity(process.pid) is None


@pytest.mark.parametrize("place", range(4))
def test_one_of_another_machine_boot_number_or_start_is_another(place):
    kept = identity(os.getpid())
    assert lives(kept)
    kept[place] = kept[place] + 1 if isinstance(kept[place], int) else "another"
    assert not lives(kept)
    assert is_of_here(kept) is (place > 1)


@pytest.mark.parametrize("kept", [None, 17, [], ["elsewhere", 17, 0.5], {"pid": 17}])
def test_what_is_no_identity_is_nobody(kept):
    assert not lives(kept)
