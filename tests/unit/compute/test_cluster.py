"""A cluster on this machine computes, and listens on loopback only."""

from __future__ import annotations

import dask.array as da
import psutil
import pytest

from genesis_workbench import compute
from genesis_workbench.core.errors import InvalidInput


def test_a_cluster_computes_and_listens_on_loopback_only():
    before = set(psutil.Process().children(recursive=True))
    with compute.cluster(workers=2, memory_per_worker_bytes=256 * 2**20) as cluster:
        assert float(da.ones(1000, chunks=100).sum().compute()) == 1000
        assert "2 workers" in repr(cluster)
        family = [psutil.Process(), *psutil.Process().children(recursive=True)]
        listening = {
            connection.laddr.ip
            for process in family
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
    psutil.wait_procs(set(psutil.Process().children(recursive=True)) - before, timeout=10)
    assert {p.name() for p in set(psutil.Process().children(recursive=True)) - before} <= {
        "python",
        "python3",
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 0}, "at least one worker"),
        ({"workers": 2, "memory_per_worker_bytes": 2**50}, "do not fit"),
        ({"walltime": "2h"}, "no option 'walltime'"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(options, words):
    with pytest.raises(InvalidInput, match=words):
        compute.cluster(**options)
