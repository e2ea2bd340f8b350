"""What every scheduler must do.

A subclass of :class:`SchedulerContract` makes the scheduler and says, where the defaults do not fit, what its machines
have instead: the Python that runs there, how to keep jobs from starting, how to submit from a process of its own.

Run as ``python -m genesis_workbench.testing.schedulers NAME FOLDER SITE SPEC`` (site and specification as JSON) it
submits one job: the process that the contract kills.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from genesis_workbench.compute.job import Job, JobSpec, JobState
from genesis_workbench.compute.schedulers._base import Scheduler
from genesis_workbench.core import plugins
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound
from genesis_workbench.core.site import ComputeSection

# Each start of the job leaves one letter in its folder.
_COUNT = "import pathlib; pathlib.Path('starts').open('a').write('x'); "


class SchedulerContract:
    """Subclass it, and set `scheduler`, and what of the other attributes differs.

    Attributes
    ----------
    name : str
        Name of its entry point.
    scheduler : Scheduler
        The one under test, with a folder of its own.
    site : ComputeSection
        The site that it was made with.
    python : str
        Python of the machines on which jobs run.
    fields : dict
        Fields of JobSpec that every job here needs, such as its image.
    timeout_s : float
        How long a short job may take from its submission to its end.
    """

    name: str
    scheduler: Scheduler
    site: ComputeSection = ComputeSection()
    python: str = sys.executable
    fields: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed
    timeout_s: float = 60

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep jobs from starting for as long as it lasts."""
        pytest.skip("this scheduler's test does not say how to keep jobs from starting")
        yield

    def submitter(self, spec: JobSpec) -> list[str]:
        """Return the command that submits `spec` from another process."""
        return [
            sys.executable, "-m", __name__, self.name, str(self.scheduler.folder),  # type: ignore[attr-defined]
            self.site.model_dump_json(), spec.model_dump_json(),
        ]  # fmt: skip

    def test_arguments_and_files_go_in_and_result_and_files_come_out(self, tmp_path: Path) -> None:
        """All that a job is given and gives, by the names in its specification."""
        (tmp_path / "numbers.txt").write_text("1 2 3")
        spec = self.job(
            "import json, os, sys\n"
            "numbers = [int(n) for n in open('in/numbers.txt').read().split()]\n"
            "factor = json.load(open('arguments.json'))['factor']\n"
            "print('on the way'); print('a warning', file=sys.stderr)\n"
            "open('figure.txt', 'w').write('a figure')\n"
            "json.dump({'sum': sum(numbers) * factor, 'own': os.environ['OWN']}, open('result.json', 'w'))\n",
            arguments={"factor": 2},
            environment={"OWN": "yes ' \" $HOME"},
            stage_in={"in/numbers.txt": str(tmp_path / "numbers.txt")},
            stage_out=("figure.txt",),
        )
        assert self.scheduler.submit(spec).key == spec.key
        job = self.ended(spec)
        assert (job.state, job.exit_code, job.reason) == (JobState.COMPLETED, 0, "")
        assert job.name == spec.name
        assert job.submitted
        assert job.ended
        assert self.scheduler.result(spec.key) == {"sum": 12, "own": "yes ' \" $HOME"}
        assert self.scheduler.output(spec.key, "figure.txt").read_text() == "a figure"
        assert "on the way" in self.scheduler.output(spec.key, "stdout").read_text()
        assert "a warning" in self.scheduler.output(spec.key, "stderr").read_text()

    def test_the_same_key_runs_once(self) -> None:
        """However often it is submitted, by whom, before and after its end."""
        spec = self.job(_COUNT, stage_out=("starts",))
        for _ in range(3):
            self.scheduler.submit(spec)
        self.fresh().submit(spec)
        assert self.ended(spec).state is JobState.COMPLETED
        again = self.fresh()
        assert again.submit(spec).state is JobState.COMPLETED
        assert again.submit_all([spec])[0].state is JobState.COMPLETED
        assert self.scheduler.output(spec.key, "starts").read_text() == "x"

    def test_many_at_once(self) -> None:
        """Each is itself, in the order that was given."""
        code = "import json; json.dump(json.load(open('arguments.json')), open('result.json', 'w'))"
        specs = [self.job(code, arguments=number) for number in range(4)]
        assert [job.key for job in self.scheduler.submit_all(specs)] == [spec.key for spec in specs]
        assert [self.ended(spec).state for spec in specs] == [JobState.COMPLETED] * 4
        assert [self.scheduler.result(spec.key) for spec in specs] == [0, 1, 2, 3]

    def test_another_job_under_a_known_key_is_a_conflict(self) -> None:
        """The first one stays what it is."""
        spec = self.job("pass")
        self.scheduler.submit(spec)
        with pytest.raises(Conflict, match="another job"):
            self.scheduler.submit(spec.model_copy(update={"name": "other"}))
        assert self.ended(spec).name == spec.name

    def test_cancel_before_the_start(self) -> None:
        """It never runs, also not when it is submitted again."""
        spec = self.job(_COUNT, stage_out=("starts",))
        with self.held():
            assert not self.scheduler.submit(spec).state.final
            self.scheduler.cancel(spec.key)
            self.until(lambda: self.status(spec).state is JobState.CANCELED)
        assert self.scheduler.submit(spec).state is JobState.CANCELED
        assert self.status(spec).reason
        with pytest.raises(NotFound):
            self.scheduler.output(spec.key, "starts")

    def test_cancel_after_the_start(self) -> None:
        """It ends soon, and says that it was canceled; once more changes nothing."""
        spec = self.job("import time; time.sleep(300)")
        self.scheduler.submit(spec)
        self.until(lambda: self.status(spec).state is JobState.ACTIVE)
        self.scheduler.cancel(spec.key)
        job = self.ended(spec)
        assert job.state is JobState.CANCELED
        assert "canceled" in job.reason
        self.scheduler.cancel(spec.key)
        assert self.status(spec).state is JobState.CANCELED

    def test_cancel_after_the_end_changes_nothing(self) -> None:
        """What has ended has ended."""
        spec = self.job("pass")
        self.scheduler.submit(spec)
        self.ended(spec)
        self.scheduler.cancel(spec.key)
        assert self.status(spec).state is JobState.COMPLETED

    def test_a_failure_says_why(self) -> None:
        """Exit status and last words of the job; no result."""
        spec = self.job("raise SystemExit('the furnace is cold')")
        self.scheduler.submit(spec)
        job = self.ended(spec)
        assert (job.state, job.exit_code) == (JobState.FAILED, 1)
        assert "the furnace is cold" in job.reason
        with pytest.raises(NotFound):
            self.scheduler.result(spec.key)

    def test_a_program_that_is_not_there_fails_with_its_name(self) -> None:
        """Instead of waiting for ever."""
        spec = self.job("").model_copy(update={"command": ("no-such-program-here", "-x")})
        self.scheduler.submit(spec)
        job = self.ended(spec)
        assert job.state is JobState.FAILED
        assert "no-such-program-here" in job.reason

    def test_words_of_a_command_are_not_read_by_a_shell(self) -> None:
        """Quotes, dollars, line ends and what looks like an option come through as they are."""
        words = ["$HOME", "`date`", "a b", "it's", '"', "line\nbreak", "--", "-n", "*", ";exit 3"]
        spec = self.job("import json, sys; json.dump(sys.argv[1:], open('result.json', 'w'))")
        spec = spec.model_copy(update={"command": (*spec.command, *words)})
        self.scheduler.submit(spec)
        assert self.ended(spec).state is JobState.COMPLETED
        assert self.scheduler.result(spec.key) == words

    def test_unknown_keys(self) -> None:
        """None, nothing and NotFound."""
        assert self.scheduler.status("never-submitted") is None
        self.scheduler.cancel("never-submitted")
        assert self.scheduler.status("never-submitted") is None
        for ask in (self.scheduler.result, lambda key: self.scheduler.output(key, "stdout")):
            with pytest.raises(NotFound):
                ask("never-submitted")

    def test_files_that_are_not_there_and_outside(self) -> None:
        """NotFound for both."""
        spec = self.job("pass")
        self.scheduler.submit(spec)
        self.ended(spec)
        for name in ("nothing.txt", "../../etc/passwd", "/etc/passwd"):
            with pytest.raises(NotFound):
                self.scheduler.output(spec.key, name)

    def test_rendering_runs_nothing(self) -> None:
        """What would run can be read, and is not known afterwards."""
        spec = self.job(_COUNT, arguments={"x": 1})
        text = self.scheduler.render(spec)
        assert self.python in text
        assert self.scheduler.status(spec.key) is None

    def test_what_can_never_run_is_refused_and_not_kept(self) -> None:
        """Before anything is queued, with what there is instead."""
        spec = self.job("pass", resources={"nodes": 9999})
        with pytest.raises(InvalidInput):
            self.scheduler.submit(spec)
        assert self.scheduler.status(spec.key) is None

    def test_a_job_ends_at_its_walltime_and_says_so(self) -> None:
        """Failed, with what to ask for."""
        spec = self.job("import time; time.sleep(300)", walltime_s=2)
        self.scheduler.submit(spec)
        job = self.ended(spec)
        assert job.state is JobState.FAILED
        assert "longer than its" in job.reason
        assert "Ask for a longer" in job.reason

    @pytest.mark.parametrize("moment", ["spec.json", "native.json", "end"])
    def test_a_submitter_killed_on_its_way_runs_it_once_when_repeated(self, moment: str) -> None:
        """With SIGKILL: as soon as the intent is kept, as soon as the scheduler has answered, and after all."""
        spec = self.job(_COUNT + "import time; time.sleep(1)", stage_out=("starts",))
        folder = Path(self.scheduler.folder) / spec.key  # type: ignore[attr-defined]
        process = subprocess.Popen(self.submitter(spec), stdout=subprocess.DEVNULL)
        try:
            self.until(lambda: (folder / moment).exists() or process.poll() is not None, pause_s=0.001)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.fresh().submit(spec)
        assert self.ended(spec).state is JobState.COMPLETED
        self.fresh().submit(spec)
        assert self.scheduler.output(spec.key, "starts").read_text() == "x"

    def test_queues_say_what_there_is(self) -> None:
        """At least one, each with a name; one at most is the default."""
        queues = self.scheduler.queues()
        assert all(queue.name for queue in queues)
        assert queues
        assert sum(queue.default for queue in queues) <= 1

    def test_files_of_a_job_are_for_its_owner_alone(self) -> None:
        """Here: whoever else has an account on this machine sees nothing."""
        spec = self.job("pass")
        job = self.scheduler.submit(spec)
        assert os.stat(Path(job.folder).parent).st_mode & 0o077 == 0  # noqa: PTH116
        self.ended(spec)

    # What the tests are written with

    def job(self, code: str, **fields: Any) -> JobSpec:
        """Return a job of the machines' Python."""
        given = {"walltime_s": 300, **self.fields, **fields}
        return JobSpec(name="contract", command=(self.python, "-c", code), **given)

    def fresh(self) -> Scheduler:
        """Return the same scheduler as another process would make it."""
        made: Scheduler = type(self.scheduler)(self.scheduler.folder, self.site)  # type: ignore[attr-defined]
        return made

    def status(self, spec: JobSpec) -> Job:
        """Return what is known of a job that was submitted."""
        job = self.scheduler.status(spec.key)
        assert job is not None
        return job

    def ended(self, spec: JobSpec) -> Job:
        """Wait for the end of a job."""
        self.until(lambda: self.status(spec).state.final)
        return self.status(spec)

    def until(self, true: Callable[[], bool], pause_s: float = 0.05) -> None:
        """Wait for something, with a deadline."""
        deadline = time.monotonic() + self.timeout_s
        while not true():
            assert time.monotonic() < deadline, "not in time"
            time.sleep(pause_s)


def _main(name: str, folder: str, site: str, spec: str) -> None:
    made: Scheduler = plugins.load("schedulers", name)(Path(folder), ComputeSection(**json.loads(site)))
    made.submit(JobSpec.model_validate_json(spec))


if __name__ == "__main__":
    _main(*sys.argv[1:])
