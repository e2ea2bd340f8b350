"""Slurm's own programs: run, read, and put into plain words.

Read with Slurm 22.05; the output formats used (``--format`` with one-letter fields, ``scontrol -o``) are the same
from 20.11 to 24.11.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches

from genesis_workbench.compute.job import Queue, QueueFull, Resources
from genesis_workbench.core.errors import DeadlineExceeded, InvalidInput, Unavailable
from genesis_workbench.core.site import SlurmSection

_TIMEOUT_S = 30
_PASSED_ON = (
    "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TZ", "USER", "XDG_RUNTIME_DIR", "MODULEPATH", "LD_LIBRARY_PATH",
)  # fmt: skip
_WORD = re.compile(r"[A-Za-z0-9_.:@=+,/%\[\]-]+")
# What its programs say where the controller is away, or dies over a request: then nobody knows whether it took it.
_UNREACHABLE = (
    "Unable to contact slurm controller", "Connection refused", "Connection reset", "Broken pipe", "Socket timed out",
    "Transport endpoint is not connected", "Unexpected missing socket", "Zero Bytes were transmitted", "communication",
    "Message receive failure", "Message send failure",
)  # fmt: skip
# The queue is full for this person: a state of the moment, and none of the job's.
_FULL = ("MaxSubmitJob", "AssocMaxSubmit", "QOSMaxSubmit", "Resource temporarily unavailable")
# Asked for what nobody can refuse: where they fail, whatever they say, nothing is known.
_TELL = ("squeue", "sinfo")
_FINISHED = "invalid job id"


@dataclass(frozen=True)
class Waiting:
    """A job that Slurm has now, waiting or running."""

    native_id: str
    state: str
    reason: str
    start: str | None  # when it started or is expected to; ISO 8601, UTC
    partition: str
    name: str
    restarts: int
    walltime_s: float | None
    nodes: int


@dataclass(frozen=True)
class Ended:
    """What Slurm remembers of a job that has ended."""

    state: str
    exit_code: int | None
    reason: str


class Slurm:
    """The programs of one Slurm, with what they answered kept for a moment.

    Parameters
    ----------
    site : SlurmSection
        Where the programs are and how often to look.
    """

    def __init__(self, site: SlurmSection) -> None:
        self._site = site
        self._mine: tuple[float, dict[str, Waiting]] | None = None
        self._order: tuple[float, dict[str, list[str]]] | None = None
        self._queues: tuple[float, list[Queue]] | None = None

    def run(self, program: str, *arguments: str, text: str | None = None) -> str:
        """Run one of Slurm's programs and return what it prints.

        Only harmless variables go with it: what a job needs beyond is in its specification, so no token of the
        notebook comes into a job.

        Raises
        ------
        InvalidInput
            With the program's own words, where it refuses.
        Unavailable
            If Slurm's controller does not answer, or the program is not installed.
        QueueFull
            If it is a submission for which the queue has no room now.
        """
        path = shutil.which(program, path=self._site.programs or None)
        if path is None:
            raise Unavailable(
                f"There is no program {program!r} here. Set compute.slurm.programs in the site file to the folder that "
                "holds it, or work on a machine that belongs to the cluster."
            )
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        conf = self._site.conf or os.environ.get("SLURM_CONF", "")
        if conf:
            environment["SLURM_CONF"] = conf
        try:
            done = subprocess.run(
                [path, *arguments],
                input=text,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DeadlineExceeded(f"Slurm's {program} did not answer within {_TIMEOUT_S} s.") from error
        words = " ".join(
            line.removeprefix(f"{program}: ").removeprefix("error: ")
            for line in done.stderr.strip().splitlines()
        )
        away = any(each.lower() in words.lower() for each in _UNREACHABLE)
        failed = done.returncode != 0
        # squeue exits with 0 also where it was told a part only; a submission that has a number was taken.
        if (away and (failed or program != "sbatch")) or (failed and program in _TELL):
            raise Unavailable(f"Slurm's controller does not answer: {words or program}")
        if failed and program == "sbatch" and says_full(words):
            raise QueueFull(
                f"Slurm takes no more of your jobs now: {words}. Try again when others have ended."
            )
        if failed:
            raise InvalidInput(f"Slurm's {program} refused: {words or f'exit status {done.returncode}'}")
        return done.stdout

    def submit(self, script: str, name: str = "") -> str:
        """Submit a batch script and return the number of its job.

        Where it gives its job a `name` that no other has, the job was refused, whatever words sbatch fails with, only if the
        queue has none of that name either.
        """
        self._mine = None
        try:
            return self.run("sbatch", "--parsable", text=script).strip().split(";")[0]
        except InvalidInput:
            if name and (there := self.named(name)):
                return there[-1]
            raise

    def mine(self) -> dict[str, Waiting]:
        """Return the jobs of this account that wait or run, by number; elements of arrays as ``4711_3``."""
        if self._mine is None or time.monotonic() - self._mine[0] > self._site.poll_s:
            lines = self.run("squeue", "--me", "-r", "-h", "-o", "%i|%T|%r|%S|%P|%l|%D|%j").splitlines()
            found = {}
            for line in lines:
                number, state, reason, start, partition, limit, nodes, name = line.split("|", 7)
                found[number] = Waiting(
                    number, state, reason, _utc(start), partition, name, 0, seconds(limit), int(nodes)
                )
            self._mine = (time.monotonic(), found)
        return self._mine[1]

    def named(self, name: str) -> list[str]:
        """Return the numbers of this account's jobs with this name that Slurm still knows; of an array its own."""
        lines = self.run("squeue", "--me", "-h", "-t", "all", f"--name={name}", "-o", "%F").split()
        return sorted(set(lines), key=int)

    def position(self, job: Waiting) -> int | None:
        """Place of a waiting job in its partition's queue, 1 for the next."""
        if self._order is None or time.monotonic() - self._order[0] > self._site.poll_s:
            order: dict[str, list[str]] = {}
            lines = self.run("squeue", "-t", "PENDING", "-r", "-h", "-S", "-p,i", "-o", "%P|%i").splitlines()
            for line in lines:
                partition, number = line.split("|", 1)
                order.setdefault(partition, []).append(number)
            self._order = (time.monotonic(), order)
        waiting = self._order[1].get(job.partition, [])
        return waiting.index(job.native_id) + 1 if job.native_id in waiting else None

    def cancel(self, *numbers: str) -> None:
        """End jobs; nothing for those that have ended."""
        self._mine = None
        if numbers:
            try:
                self.run("scancel", "--quiet", *numbers)
            except InvalidInput as error:
                if _FINISHED not in error.message.lower():
                    raise

    def ended(self, number: str) -> Ended | None:
        """Return what Slurm remembers of a job that has ended: for a minute without accounting, long with it."""
        try:
            facts = _facts(self.run("scontrol", "show", "job", number, "-o").strip().splitlines()[0])
        except InvalidInput:
            return self._from_accounting(number)
        code = facts.get("ExitCode", "").partition(":")[0]
        return Ended(facts["JobState"], int(code) if code.isdigit() else None, facts.get("Reason", ""))

    def restarts(self, number: str) -> int:
        """How often Slurm has started the job again."""
        try:
            facts = _facts(self.run("scontrol", "show", "job", number, "-o").strip().splitlines()[0])
        except InvalidInput:
            return 0
        return int(facts.get("Restarts", "0"))

    def queues(self) -> list[Queue]:
        """Return the partitions as they are now."""
        found: dict[str, Queue] = {}
        for line in self.run("sinfo", "-h", "-e", "-o", "%P|%a|%l|%D|%c|%m|%C|%G|%t").splitlines():
            partition, up, limit, nodes, cores, memory, use, gres, state = line.split("|")
            name = partition.rstrip("*")
            known = found.get(name) or Queue(
                name=name, default=partition.endswith("*"), max_walltime_s=seconds(limit)
            )
            usable = up == "up" and not state.startswith(("down", "drain", "fail", "maint", "unk"))
            found[name] = known.model_copy(
                update={
                    # A machine that is down comes back: it counts for what could ever run, not for what is free.
                    "nodes": known.nodes + int(nodes),
                    "cores_per_node": max(known.cores_per_node, _number(cores)),
                    "memory_per_node_bytes": max(known.memory_per_node_bytes, _number(memory) * 2**20),
                    "gpus_per_node": max(known.gpus_per_node, _gpus(gres)),
                    "free_cores": known.free_cores + (int(use.split("/")[1]) if usable else 0),
                }
            )
        waiting = self.run("squeue", "-t", "PENDING", "-r", "-h", "-o", "%P").split()
        return [each.model_copy(update={"waiting_jobs": waiting.count(each.name)}) for each in found.values()]

    def check(self, what: str, queue: str, resources: Resources, walltime_s: float) -> None:
        """Refuse what no machine of the partition could ever run, with the nearest that would do.

        Raises
        ------
        InvalidInput
            What was asked for, what there is, and what to ask for instead.
        """
        refuse_unsatisfiable(what, self._there(), queue, resources, walltime_s)

    def explain(self, job: Waiting) -> str:
        """Say why a job waits, in plain words."""
        queue = next((each for each in self._there() if each.name == job.partition), None)
        limit = queue.max_walltime_s if queue else None
        if limit is not None and job.walltime_s is not None and job.walltime_s > limit:
            return (
                f"It waits because the queue {job.partition!r} allows {duration(limit)} and you asked for "
                f"{duration(job.walltime_s)}. Cancel it and ask for less."
            )
        place = self.position(job)
        if job.reason in ("None", "Priority", "Resources") and place is not None:
            before = f"{place - 1} job{'s' if place > 2 else ''} before it" if place > 1 else "it is the next"
            if job.reason == "None":
                return f"It has just been queued; {before}."
            free = f"; {queue.free_cores} cores are free now" if queue else ""
            return f"It waits for free machines; {before}{free}."
        return _WORDS.get(job.reason) or _prefixed(job.reason)

    def _there(self) -> list[Queue]:
        """Return the partitions as they were a moment ago: thousands of jobs that wait are explained by one look."""
        if self._queues is None or time.monotonic() - self._queues[0] > self._site.poll_s:
            self._queues = (time.monotonic(), self.queues())
        return self._queues[1]

    def _from_accounting(self, number: str) -> Ended | None:
        if shutil.which("sacct", path=self._site.programs or None) is None:
            return None
        try:
            lines = self.run("sacct", "-X", "-n", "-P", "-j", number, "-o", "State,ExitCode").splitlines()
        except (InvalidInput, Unavailable):  # no accounting here
            return None
        if not lines:
            return None
        state, code = lines[-1].split("|")
        return Ended(state.split()[0], int(code.partition(":")[0]), "")


def says_full(words: str) -> bool:
    """Whether a refusal means that there is no room for more jobs of this person now."""
    return any(each in words for each in _FULL)


def refuse_unsatisfiable(
    what: str, there: list[Queue], queue: str, resources: Resources, walltime_s: float
) -> None:
    """Refuse what no machine of a queue could ever run, with the nearest that would do.

    Parameters
    ----------
    what : str
        Begins the sentence, such as ``"A worker"``.
    there : list of Queue
        What the site has.
    queue : str
        Name of the queue; the default where empty.

    Raises
    ------
    InvalidInput
        What was asked for, what there is, and what to ask for instead.
    """
    names = [each.name for each in there]
    chosen = next((each for each in there if (each.name == queue if queue else each.default)), None)
    if chosen is None:
        near = get_close_matches(queue, names, n=1)
        raise InvalidInput(
            f"There is no queue {queue!r}."
            + (f" Did you mean {near[0]!r}?" if near else "")
            + f" This site has {', '.join(names) or 'none'}."
        )
    faults = unsatisfiable(chosen, resources, walltime_s)
    if not faults:
        return
    others = [
        each.name for each in there if each is not chosen and not unsatisfiable(each, resources, walltime_s)
    ]
    instead = f" Or use the queue {' or '.join(repr(name) for name in others)}, which can." if others else ""
    raise InvalidInput(f"{what} can never run on the queue {chosen.name!r}: {' '.join(faults)}{instead}")


def unsatisfiable(queue: Queue, resources: Resources, walltime_s: float) -> list[str]:
    """Return what of a request the machines of a queue could never give, each with the nearest that would do."""
    faults = []
    cores = resources.cpu_cores * resources.processes_per_node
    gpus = resources.gpus * resources.processes_per_node
    if queue.nodes == 0:
        return ["it has no machines. Ask the operators."]
    if queue.max_walltime_s is not None and walltime_s > queue.max_walltime_s:
        faults.append(
            f"it allows {duration(queue.max_walltime_s)} and you asked for {duration(walltime_s)}. Ask for at most "
            f"{duration(queue.max_walltime_s)}."
        )
    if resources.nodes > queue.nodes:
        faults.append(
            f"it has {queue.nodes} machines and you asked for {resources.nodes}. Ask for at most {queue.nodes}."
        )
    if cores > queue.cores_per_node:
        faults.append(
            f"its largest machine has {queue.cores_per_node} cores and you asked for {cores} on one. Ask for at most "
            f"{queue.cores_per_node}."
        )
    if resources.memory_bytes > queue.memory_per_node_bytes:
        faults.append(
            f"its largest machine has {queue.memory_per_node_bytes / 2**30:.2f} GiB of memory and you asked for "
            f"{resources.memory_bytes / 2**30:.2f} GiB. Ask for at most {queue.memory_per_node_bytes} bytes."
        )
    if gpus > queue.gpus_per_node:
        faults.append(f"its machines have {queue.gpus_per_node} accelerators each and you asked for {gpus}.")
    return faults


def directives(
    name: str,
    resources: Resources,
    walltime_s: float,
    *,
    queue: str = "",
    account: str = "",
    output: str = "/dev/null",
    options: Iterable[str] = (),
) -> list[str]:
    """Return the ``#SBATCH`` lines of a request.

    Raises
    ------
    InvalidInput
        If a value holds what could begin another directive or an argument of its own.
    """
    given = {
        "job-name": name,
        "partition": queue,
        "account": account,
        "output": output,
        "nodes": str(resources.nodes),
        "ntasks-per-node": str(resources.processes_per_node),
        "cpus-per-task": str(resources.cpu_cores),
        # Slurm counts in MiB; rounded up to these and no further.
        "mem": f"{math.ceil(resources.memory_bytes / 2**20)}M" if resources.memory_bytes else "",
        "gres": f"gpu:{resources.gpus * resources.processes_per_node}" if resources.gpus else "",
        "time": _clock(walltime_s),
    }
    words = [f"--{option}={value}" for option, value in given.items() if value]
    words += ["--exclusive"] if resources.exclusive else []
    words += list(options)
    for word in words:
        if not word.startswith("--") or not _WORD.fullmatch(word):
            raise InvalidInput(
                f"{word!r} cannot be an option of sbatch. Use letters, digits and . _ : @ = + , / % - in names of "
                "queues, accounts and options."
            )
    return [f"#SBATCH {word}" for word in words]


def seconds(text: str) -> float | None:
    """Read Slurm's ``days-hours:minutes:seconds``; None for no limit.

    Examples
    --------
    >>> seconds("1-02:00:00"), seconds("2:00"), seconds("infinite")
    (93600.0, 120.0, None)
    """
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(?:(\d+):)?(\d+)", text.strip())
    if not match:
        return None
    days = int(match[1] or 0)
    parts = [int(part) for part in text.strip().rpartition("-")[2].split(":")]
    if match[1] and len(parts) < 3:
        parts += [0] * (3 - len(parts))  # days-hours[:minutes]
    elif len(parts) == 1:
        parts = [0, parts[0], 0]  # minutes alone
    while len(parts) < 3:
        parts.insert(0, 0)
    return float(((days * 24 + parts[0]) * 60 + parts[1]) * 60 + parts[2])


def duration(seconds_: float) -> str:
    """Say a time as people do: ``90 s``, ``2 min``, ``1 h 30 min``, ``2 days``."""
    whole = round(seconds_)
    if whole < 120:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    hours, minutes = divmod(whole // 60, 60)
    if hours < 48:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    return f"{hours / 24:g} days" if hours % 24 == 0 else f"{hours / 24:.1f} days"


_WORDS = {
    "None": "It has just been queued.",
    "Priority": "Jobs with a higher priority are before it.",
    "Resources": "It waits for free machines; it is the next.",
    "BeginTime": "It was started before and waits to be started again, or for the time at which it may begin.",
    "Dependency": "It waits for another job to end.",
    "DependencyNeverSatisfied": "The job that it waits for failed: it can never start. Cancel it.",
    "JobHeldUser": "You or a person with your account has put it on hold. Release it with `scontrol release`.",
    "JobHeldAdmin": "An operator has put it on hold. Ask them why.",
    "PartitionDown": "Its queue is closed for now. It starts when the operators open it.",
    "PartitionInactive": "Its queue is closed for now. It starts when the operators open it.",
    "PartitionConfig": "Its queue does not allow what it asks for. Cancel it and ask for less, or use another queue.",
    "PartitionTimeLimit": "Its queue does not allow so long a walltime. Cancel it and ask for less.",
    "PartitionNodeLimit": "Its queue does not allow so many machines. Cancel it and ask for fewer.",
    "ReqNodeNotAvail": "A machine that it needs is down or reserved for maintenance before it could end.",
    "Reservation": "It waits for its reservation to begin.",
    "Licenses": "It waits for a licence.",
    "NodeDown": "A machine that it needs is down.",
    "BadConstraints": "No machine has what it asks for. Cancel it.",
    "AssociationJobLimit": "Your account has as many jobs as it may. It waits for one of them to end.",
    "QOSJobLimit": "You have as many jobs as this service class allows. It waits for one of them to end.",
    "InvalidAccount": "The account that it is charged to is not valid. Cancel it and name another.",
    "InvalidQOS": "The service class that it asks for is not valid for you.",
    "JobArrayTaskLimit": "As many elements of its array run as may at once.",
    "Prolog": "Its machines are being prepared.",
    "Cleaning": "It is being cleaned up before it is started again.",
}


def _prefixed(reason: str) -> str:
    if reason.startswith("ReqNodeNotAvail"):
        return _WORDS["ReqNodeNotAvail"]
    if "DOWN" in reason or "DRAINED" in reason:
        return "The machines that it needs are down, drained or reserved. It starts when they are back."
    if reason.startswith(("Assoc", "QOS")):
        return f"A limit of your account or service class holds it back ({reason}). It waits for your other jobs to end."
    if "held" in reason.lower():
        return f"Slurm holds it back ({reason}). Ask an operator to look at its machine and release it."
    return f"It waits; Slurm says {reason!r}."


def _facts(line: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in line.split() if "=" in word)


def _utc(text: str) -> str | None:
    try:
        local = datetime.fromisoformat(text)
    except ValueError:  # N/A
        return None
    return local.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _number(text: str) -> int:
    return int(text.rstrip("+"))


def _gpus(gres: str) -> int:
    return sum(int(count) for count in re.findall(r"gpu(?::[^:,(]+)?:(\d+)", gres))


def _clock(seconds_: float) -> str:
    minutes = max(1, math.ceil(seconds_ / 60))  # Slurm's own resolution
    return f"{minutes // 60:02}:{minutes % 60:02}:00"
