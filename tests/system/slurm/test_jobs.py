"""Jobs on a real Slurm: each key runs once, and what the queue says reaches the person."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from genesis_workbench.compute import JobSpec, Resources
from genesis_workbench.compute.job import JobState
from genesis_workbench.compute.schedulers.slurm import SlurmScheduler
from genesis_workbench.core.errors import Conflict, InvalidInput, Unavailable
from genesis_workbench.core.site import ComputeSection, SlurmSection

SITE = ComputeSection(scheduler="slurm", slurm=SlurmSection(poll_s=0.2))
COUNT = "import pathlib; pathlib.Path({file!r}).open('a').write('x')"


@pytest.fixture
def scheduler(slurm, tmp_path):
    return SlurmScheduler(tmp_path / "jobs", SITE)


def python(code, **fields):
    return JobSpec(name="test", command=(sys.executable, "-c", code), **fields)


def until(true, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)
    return found


def ended(scheduler, key, timeout_s=60):
    return until(lambda: (job := scheduler.status(key)) and job.state.final and job, timeout_s)


def test_a_job_takes_arguments_and_files_and_leaves_a_result(scheduler, tmp_path):
    (tmp_path / "numbers.txt").write_text("1 2 3")
    code = (
        "import json, os\n"
        "numbers = [int(n) for n in open('in/numbers.txt').read().split()]\n"
        "factor = json.load(open('arguments.json'))['factor']\n"
        "json.dump({'sum': sum(numbers) * factor, 'token': os.environ.get('JUPYTERHUB_API_TOKEN'),"
        " 'own': os.environ['OWN']}, open('result.json', 'w'))\n"
        "open('figure.txt', 'w').write('a figure')\n"
    )
    spec = python(
        code,
        arguments={"factor": 2},
        environment={"OWN": "yes"},
        stage_in={"in/numbers.txt": str(tmp_path / "numbers.txt")},
        stage_out=("figure.txt",),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTERHUB_API_TOKEN", "of the notebook")
        scheduler.submit(spec)
    job = ended(scheduler, spec.key)
    assert (job.state, job.exit_code, job.reason) == (JobState.COMPLETED, 0, "")
    assert scheduler.result(spec.key) == {"sum": 12, "token": None, "own": "yes"}
    assert scheduler.output(spec.key, "figure.txt").read_text() == "a figure"


def test_a_job_that_fails_says_its_last_words(scheduler):
    spec = python("raise SystemExit('the furnace is cold')")
    scheduler.submit(spec)
    job = ended(scheduler, spec.key)
    assert job.state is JobState.FAILED
    assert job.exit_code == 1
    assert "the furnace is cold" in job.reason


def test_one_key_runs_once_however_often_it_is_submitted(scheduler, tmp_path):
    spec = python(COUNT.format(file=str(tmp_path / "ran")))
    for _ in range(5):
        SlurmScheduler(scheduler.folder, SITE).submit(spec)
    ended(scheduler, spec.key)
    scheduler.submit(spec)
    time.sleep(1)
    assert (tmp_path / "ran").read_text() == "x"
    with pytest.raises(Conflict, match="another job"):
        scheduler.submit(python("pass", key=spec.key))


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_submission_killed_around_sbatch_runs_once_when_repeated(scheduler, tmp_path, moment):
    spec = python(COUNT.format(file=str(tmp_path / "ran")) + "; import time; time.sleep(2)")
    kill = "os.kill(os.getpid(), signal.SIGKILL)"
    code = (
        "import os, pathlib, signal, sys\n"
        "from genesis_workbench.compute import JobSpec\n"
        "from genesis_workbench.compute.slurm import Slurm\n"
        "from genesis_workbench.compute.schedulers.slurm import SlurmScheduler\n"
        "from genesis_workbench.core.site import ComputeSection\n"
        "submit = Slurm.submit\n"
        "def killed(self, script, name):\n"
        f"    {kill if moment == 'before' else 'submit(self, script, name)'}\n"
        f"    {kill}\n"
        "Slurm.submit = killed\n"
        "SlurmScheduler(pathlib.Path(sys.argv[1]), ComputeSection()).submit(JobSpec.model_validate_json(sys.argv[2]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(scheduler.folder), spec.model_dump_json()], check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    scheduler.submit(spec)
    assert ended(scheduler, spec.key).state is JobState.COMPLETED
    time.sleep(1)
    assert (tmp_path / "ran").read_text() == "x"


def test_a_lost_answer_found_only_by_its_traces_starts_nothing_twice(scheduler, tmp_path):
    spec = python(COUNT.format(file=str(tmp_path / "ran")))
    scheduler.submit(spec)
    ended(scheduler, spec.key)
    # Slurm forgets a job after MinJobAge; its number was lost; it is submitted by hand once more.
    (scheduler.folder / spec.key / "native.json").unlink()
    script = tmp_path / "again.sh"
    script.write_text(scheduler.render(spec))
    subprocess.run(["sbatch", "--wait", str(script)], check=True, capture_output=True, timeout=60)
    assert scheduler.submit(spec).state is JobState.COMPLETED
    assert (tmp_path / "ran").read_text() == "x"


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"queue": "debgu"}, "Did you mean 'debug'"),
        ({"walltime_s": 7200}, "it allows 1 h and you asked for 2 h"),
        ({"resources": Resources(cpu_cores=8)}, "its largest machine has 4 cores and you asked for 8"),
        ({"resources": Resources(memory_bytes=2**40)}, "Ask for at most 8388608000 bytes"),
        ({"resources": Resources(nodes=9)}, "it has 4 machines and you asked for 9"),
        ({"resources": Resources(gpus=1)}, "have 0 accelerators"),
        ({"queue": "tiny", "walltime_s": 600}, "Or use the queue 'debug' or 'spare', which can"),
        ({"image": "localhost/x@sha256:0"}, "does not say how its machines run images"),
        ({"account": "a\n#SBATCH --uid=root"}, "cannot be an option of sbatch"),
    ],
)
def test_what_can_never_run_is_refused_before_it_is_queued(scheduler, slurm, asked, words):
    before = slurm.jobs()
    with pytest.raises(InvalidInput, match=words):
        scheduler.submit(python("pass", **asked))
    assert set(slurm.jobs()) <= set(before)


def test_a_full_queue_says_the_place_and_why(scheduler):
    blocker = python("import time; time.sleep(60)", resources=Resources(nodes=4, cpu_cores=4), walltime_s=600)
    waiting = [python("pass", resources=Resources(cpu_cores=4), walltime_s=600) for _ in range(3)]
    scheduler.submit(blocker)
    until(lambda: scheduler.status(blocker.key).state is JobState.ACTIVE)
    for spec in waiting:
        scheduler.submit(spec)
    last = until(lambda: (job := scheduler.status(waiting[-1].key)).position == 3 and job)
    assert last.state is JobState.QUEUED
    assert last.reason == "It waits for free machines; 2 jobs before it; 0 cores are free now."
    first = until(lambda: (job := scheduler.status(waiting[0].key)).estimated_start and job)
    assert first.position == 1
    for spec in [*reversed(waiting), blocker]:  # so that none gets its turn meanwhile
        scheduler.cancel(spec.key)
        assert ended(scheduler, spec.key).state is JobState.CANCELED


def test_a_limit_lowered_later_is_told_in_plain_words(scheduler, slurm):
    blocker = python("import time; time.sleep(60)", resources=Resources(nodes=4, cpu_cores=4), walltime_s=600)
    spec = python("pass", resources=Resources(cpu_cores=4), walltime_s=3600)
    scheduler.submit(blocker)
    scheduler.submit(spec)
    slurm.run("scontrol", "update", "PartitionName=debug", "MaxTime=30")
    try:
        scheduler.cancel(blocker.key)
        words = "because the queue 'debug' allows 30 min and you asked for 1 h"
        until(lambda: words in scheduler.status(spec.key).reason)
    finally:
        slurm.run("scontrol", "update", "PartitionName=debug", "MaxTime=60")
        scheduler.cancel(spec.key)


def test_a_job_is_warned_then_ended_at_its_walltime(scheduler):
    code = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: open('warned', 'w').close())\n"
        "while True: time.sleep(0.1)\n"
    )
    spec = python(code, walltime_s=4, warning_s=2)
    scheduler.submit(spec)
    job = ended(scheduler, spec.key)
    assert job.state is JobState.FAILED
    assert "longer than its 4 s" in job.reason
    assert scheduler.output(spec.key, "warned").exists()


def test_many_jobs_go_as_arrays(scheduler, slurm):
    specs = [python(f"import json; json.dump({n}, open('result.json', 'w'))") for n in range(40)]
    jobs = scheduler.submit_all(specs)
    assert len({job.native_id.partition("_")[0] for job in jobs}) == 1
    assert scheduler.submit_all(specs)[7].native_id == jobs[7].native_id
    for number, spec in enumerate(specs):
        assert ended(scheduler, spec.key).state is JobState.COMPLETED
        assert scheduler.result(spec.key) == number


def test_an_array_whose_numbers_were_cut_off_is_found_by_whatever_is_submitted_next(scheduler, tmp_path):
    code = COUNT.format(file=str(tmp_path / "ran-{number}")) + "; import time; time.sleep(3)"
    whole = Resources(cpu_cores=4)  # four of them run at once, two wait
    specs = [python(code.format(number=number), resources=whole) for number in range(6)]
    killed = (
        "import json, os, pathlib, signal, sys\n"
        "from genesis_workbench.compute import JobSpec\n"
        "from genesis_workbench.compute.schedulers import slurm\n"
        "from genesis_workbench.core.site import ComputeSection\n"
        "write = slurm.write\n"
        "def until_the_third(path, value):\n"
        "    if path.name == 'native.json' and value['id'].endswith('_2'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    write(path, value)\n"
        "slurm.write = until_the_third\n"
        "specs = [JobSpec.model_validate(each) for each in json.load(sys.stdin)]\n"
        "slurm.SlurmScheduler(pathlib.Path(sys.argv[1]), ComputeSection()).submit_all(specs)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", killed, str(scheduler.folder)],
        input=json.dumps([spec.model_dump(mode="json") for spec in specs]),
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL
    until((tmp_path / "ran-0").exists)  # elements that run have numbers of their own
    other = python("pass")
    jobs = scheduler.submit_all([specs[5], other])
    # All six are elements of the one array that was there, also those that nobody asked for.
    number = scheduler.status(specs[0].key).native_id.partition("_")[0]
    assert [scheduler.status(spec.key).native_id for spec in specs] == [f"{number}_{n}" for n in range(6)]
    assert jobs[0].native_id == f"{number}_5"
    for spec in [*specs, other]:
        assert ended(scheduler, spec.key).state is JobState.COMPLETED
    assert [(tmp_path / f"ran-{number}").read_text() for number in range(6)] == ["x"] * 6


def test_a_job_that_was_submitted_twice_is_told_of_by_the_one_that_runs(scheduler, slurm, tmp_path):
    go = tmp_path / "go"
    spec = python(f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.1)")
    first = scheduler.submit(spec).native_id
    until((scheduler.folder / spec.key / "started.json").exists)
    again = slurm.run("sbatch", "--parsable", "-o", "/dev/null", "--wrap", "true").strip()
    (scheduler.folder / spec.key / "native.json").write_text(json.dumps({"id": again}))
    until(lambda: "COMPLETED" in slurm.run("scontrol", "show", "job", again))
    now = scheduler.status(spec.key)
    assert (now.state, now.native_id) == (JobState.ACTIVE, first)
    go.touch()
    assert ended(scheduler, spec.key).state is JobState.COMPLETED


@pytest.mark.slow  # Slurm waits two minutes before it starts a job again
def test_a_preempted_job_goes_on_where_it_may(scheduler, tmp_path):
    progress = tmp_path / "progress"
    code = (
        f"import os, pathlib, time; p = pathlib.Path({str(progress)!r})\n"
        "p.open('a').write('start ')\n"
        "if p.read_text().count('start') == 1: time.sleep(120)\n"
    )
    spec = python(
        code, queue="spare", resources=Resources(nodes=1, cpu_cores=4), requeue=True, walltime_s=600
    )
    once = python(
        "import time; time.sleep(120)", queue="spare", resources=Resources(cpu_cores=4), walltime_s=600
    )
    scheduler.submit(spec)
    scheduler.submit(once)
    until(lambda: progress.exists() and scheduler.status(once.key).state is JobState.ACTIVE)
    urgent = python("import time; time.sleep(3)", resources=Resources(nodes=4, cpu_cores=4), walltime_s=60)
    scheduler.submit(urgent)
    assert ended(scheduler, urgent.key, 90).state is JobState.COMPLETED
    job = ended(scheduler, spec.key, 180)
    assert job.state is JobState.COMPLETED, job
    assert job.restarts == 1
    assert progress.read_text() == "start start "
    lost = ended(scheduler, once.key)
    assert lost.state is JobState.FAILED
    assert "higher priority" in lost.reason


def test_a_controller_that_is_away_is_told_and_nothing_is_lost(scheduler, slurm, tmp_path):
    running = python(COUNT.format(file=str(tmp_path / "ran")) + "; import time; time.sleep(4)")
    scheduler.submit(running)
    until((tmp_path / "ran").exists)
    slurm.stop_controller()
    try:
        spec = python("pass")
        with pytest.raises(Unavailable, match="controller does not answer"):
            SlurmScheduler(scheduler.folder, SITE).submit(spec)
    finally:
        slurm.start_controller()
    until(lambda: slurm.run("sinfo", "-h", check=False))
    assert ended(scheduler, running.key).state is JobState.COMPLETED
    scheduler.submit(spec)
    assert ended(scheduler, spec.key).state is JobState.COMPLETED


def test_several_processes_on_several_nodes(scheduler):
    code = "import os; open(f'rank-{os.environ[\"SLURM_PROCID\"]}', 'w').write(os.environ['SLURMD_NODENAME'])"
    spec = python(code, resources=Resources(nodes=2, processes_per_node=2))
    scheduler.submit(spec)
    assert ended(scheduler, spec.key).state is JobState.COMPLETED
    nodes = [scheduler.output(spec.key, f"rank-{rank}").read_text() for rank in range(4)]
    assert sorted(map(nodes.count, set(nodes))) == [2, 2]


def test_rendering_submits_nothing(scheduler, slurm):
    before = slurm.jobs()
    text = scheduler.render(python("pass", resources=Resources(memory_bytes=1_500_000_000), walltime_s=90))
    assert "#SBATCH --mem=1431M" in text  # rounded up to MiB, not to GiB
    assert "#SBATCH --time=00:02:00" in text
    assert set(slurm.jobs()) <= set(before)
    assert not scheduler.folder.exists()


def test_a_job_folder_is_for_its_owner_alone(scheduler):
    spec = python("pass")
    job = scheduler.submit(spec)
    assert scheduler.folder.stat().st_mode & 0o077 == 0
    assert json.loads((scheduler.folder / spec.key / "native.json").read_text())["id"] == job.native_id
    ended(scheduler, spec.key)
