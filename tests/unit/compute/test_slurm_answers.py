"""What Slurm's programs say where their controller is away or dies over a request. A real one says it only now and then."""

from __future__ import annotations

import pytest

from genesis_workbench.compute.slurm import Slurm
from genesis_workbench.core.errors import InvalidInput, Unavailable
from genesis_workbench.core.site import SlurmSection


@pytest.fixture
def slurm(tmp_path):
    """Return one whose program prints `out` and `words` and exits with `status`; its queue has the jobs `there`."""

    def make(program, status, words, out="", there=""):
        if program != "squeue":
            make("squeue", 0, "", there)
        path = tmp_path / program
        path.write_text(
            f"#!/bin/sh\ncat > /dev/null\necho '{words}' >&2\nprintf '%s' '{out}'\nexit {status}\n"
        )
        path.chmod(0o700)
        return Slurm(SlurmSection(programs=str(tmp_path)))

    return make


# Heard from Slurm 22.05 whose slurmctld was killed over and over.
@pytest.mark.parametrize(
    "words",
    [
        "Batch job submission failed: Zero Bytes were transmitted or received",
        "Batch job submission failed: Connection reset by peer",
        "Batch job submission failed: Transport endpoint is not connected",
        "slurm_msg_sendto: address:port=127.0.0.1:24103 msg_type=4003: Unexpected missing socket error",
        "Batch job submission failed: Unable to contact slurm controller (connect failure)",
    ],
)
def test_a_controller_that_dies_over_a_submission_has_not_refused_it(slurm, words):
    with pytest.raises(Unavailable, match="does not answer"):
        slurm("sbatch", 1, f"sbatch: error: {words}").submit("#!/bin/sh\n", "gw-1")


def test_what_it_refuses_is_told_in_its_own_words(slurm):
    words = "sbatch: error: Batch job submission failed: Invalid account"
    with pytest.raises(InvalidInput, match="refused: Batch job submission failed: Invalid account"):
        slurm("sbatch", 1, words).submit("#!/bin/sh\n", "gw-1")


def test_a_job_that_the_queue_has_was_taken_whatever_was_said_of_it(slurm):
    made = slurm("sbatch", 1, "sbatch: error: Words that nobody has met", there="4711\n")
    assert made.submit("#!/bin/sh\n", "gw-1") == "4711"


def test_a_queue_that_was_told_in_part_is_not_taken_for_all_of_it(slurm):
    with pytest.raises(Unavailable):
        slurm("squeue", 0, "slurm_load_partitions: Connection reset by peer", "7|RUNNING|").mine()


def test_a_queue_that_cannot_be_looked_at_refuses_nothing(slurm):
    with pytest.raises(Unavailable, match="does not answer: Words that nobody has met"):
        slurm("squeue", 1, "squeue: error: Words that nobody has met").mine()


def test_a_submission_that_has_a_number_was_taken(slurm):
    assert (
        slurm("sbatch", 0, "sbatch: error: Connection reset by peer", "4711").submit("#!/bin/sh\n", "gw-1")
        == "4711"
    )
