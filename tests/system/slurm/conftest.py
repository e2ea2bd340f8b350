"""A real Slurm for each module, with the packages named where they are missing."""

from __future__ import annotations

import os
import shutil

import pytest

from system.slurm.cluster import PATH, PROGRAMS, SlurmCluster


def needed():
    """Skip without Slurm's daemons; fail where they are required."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        reason = f"{', '.join(missing)} missing: apt-get install slurmctld slurmd slurm-client munge"
        if os.environ.get("REQUIRE_SLURM") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def slurm():
    """Four nodes of four cores, as this account."""
    needed()
    with SlurmCluster() as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(cluster.conf))
        patch.setenv("PATH", PATH)
        yield cluster
