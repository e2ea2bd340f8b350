"""A real Slurm cluster on loopback: Debian's daemons, several nodes on one machine, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"

_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/sock
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SrunPortRange={first_srun}-{last_srun}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/state/slurmctld.pid
SlurmdPidFile={folder}/state/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
DefMemPerCPU=200
ReturnToService=2
SlurmdParameters=config_overrides
SlurmctldTimeout=60
SlurmdTimeout=60
InactiveLimit=0
KillWait=10
MinJobAge={min_job_age}
CompleteWait=0
NodeName=c[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first_node}-{last_node}] CPUs={cores} RealMemory={memory} State=UNKNOWN
{accounting}PartitionName=debug Nodes=c[1-{nodes}] Default=YES MaxTime=01:00:00 DefaultTime=00:10:00 State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=tiny Nodes=c1 MaxTime=00:02:00 MaxNodes=1 State=UP PriorityTier=10 PreemptMode=OFF
PartitionName=spare Nodes=c[1-{nodes}] MaxTime=01:00:00 State=UP PriorityTier=1 PreemptMode=REQUEUE
"""


_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge/sock
AccountingStorageEnforce=limits
"""
_DBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/sock
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser={user}
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/state/slurmdbd.pid
CommunicationParameters=NoInAddrAny
"""


class SlurmCluster:
    """Slurm as this account: as root it runs jobs of every local account, else only this account's.

    Parameters
    ----------
    nodes, cores, memory_mib : int
        How many nodes, and what each pretends to have.
    account : str, optional
        Local account that the daemons run as, where the tests run as root.
    accounting : bool
        Whether slurmdbd over MariaDB keeps what ended jobs were.

    Attributes
    ----------
    conf : Path
        What SLURM_CONF has to name.
    """

    def __init__(
        self,
        nodes: int = 4,
        cores: int = 4,
        memory_mib: int = 8000,
        account: str = "",
        accounting: bool = False,
    ) -> None:
        # Short and readable for every account: paths of sockets have at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
        self.conf = self.folder / "etc/slurm.conf"
        self.nodes = [f"c{number + 1}" for number in range(nodes)]
        self._cores, self._memory, self._accounting = cores, memory_mib, accounting
        self._ports = _free_ports(nodes + 103)
        self._database: subprocess.Popen[bytes] | None = None
        self._owner = pwd.getpwnam(account) if account else pwd.getpwuid(os.geteuid())

    def start(self) -> Self:
        """Start all daemons and wait until every node is idle."""
        self._write_configuration()
        self._daemon(
            "munged", f"--key-file={self.folder}/munge/private/key", f"--socket={self.folder}/munge/sock",
            f"--pid-file={self.folder}/munge/private/pid", f"--log-file={self.folder}/munge/private/log",
            f"--seed-file={self.folder}/munge/private/seed", "--num-threads=4",
        )  # fmt: skip
        if self._accounting:
            self._start_accounting()
        self.start_controller()
        for node in self.nodes:
            self.start_node(node)
        deadline = time.monotonic() + 60
        while len(self.idle()) < len(self.nodes):
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.1)
        return self

    def stop(self) -> None:
        """End the jobs, then the daemons, by their process numbers alone."""
        for job in self.run("squeue", "-h", "-o", "%A", check=False).split():
            self.run("scancel", job, check=False)
        deadline = time.monotonic() + 20
        while self.run("squeue", "-h", check=False).strip() and time.monotonic() < deadline:
            time.sleep(0.1)
        files = [*self.folder.glob("state/*.pid"), self.folder / "munge/private/pid"]
        running = []
        for file in files:
            if file.exists() and psutil.pid_exists(number := int(file.read_text())):
                running.append(psutil.Process(number))
        for process in running:
            process.terminate()
        _, alive = psutil.wait_procs(running, timeout=10)
        for process in alive:
            process.kill()
        if self._database:
            self._database.terminate()
            self._database.wait(timeout=30)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start_controller(self) -> None:
        """Start slurmctld."""
        self._daemon("slurmctld", "-f", str(self.conf))

    def stop_controller(self) -> None:
        """End slurmctld; running jobs go on."""
        self._end(self.folder / "state/slurmctld.pid")

    def start_node(self, node: str) -> None:
        """Start the slurmd of a node."""
        self._daemon("slurmd", "-f", str(self.conf), "-N", node)

    def stop_node(self, node: str) -> None:
        """Kill a node: its slurmd and everything that runs on it."""
        for step in psutil.process_iter(["name"]):
            if step.info["name"] == "slurmstepd" and _of_node(step, self.folder, node):
                for child in step.children(recursive=True):
                    _kill(child)
                _kill(step)
        self._end(self.folder / f"state/slurmd.{node}.pid", signal.SIGKILL)

    def idle(self) -> list[str]:
        """Nodes that run nothing."""
        return self.run("sinfo", "-h", "-N", "-p", "debug", "-t", "idle", "-o", "%N", check=False).split()

    def jobs(self) -> list[str]:
        """Numbers of the jobs that wait or run."""
        return self.run("squeue", "-h", "-o", "%A").split()

    def run(self, program: str, *arguments: str, check: bool = True) -> str:
        """Run one of Slurm's programs as the daemons' account."""
        done = subprocess.run(
            [program, *arguments], env=self._environment(), capture_output=True, text=True, timeout=60, check=False,
            **self._as_owner(),
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"{program} {arguments}: {done.stderr}"
        return done.stdout

    def logs(self) -> str:
        """Last words of the daemons."""
        return "\n".join(file.read_text()[-1500:] for file in self.folder.glob("log/*.log"))

    def _write_configuration(self) -> None:
        for name in (
            "etc",
            "state",
            "log",
            "munge",
            "munge/private",
            *(f"spool/{node}" for node in self.nodes),
        ):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        key = self.folder / "munge/private/key"
        key.write_bytes(os.urandom(128))
        port = self._ports
        self.conf.write_text(
            _CONF.format(
                host=socket.gethostname().partition(".")[0],
                folder=self.folder,
                user=self._owner.pw_name,
                port=port,
                first_node=port + 1,
                last_node=port + len(self.nodes),
                first_srun=port + len(self.nodes) + 1,
                last_srun=port + len(self.nodes) + 100,
                nodes=len(self.nodes),
                cores=self._cores,
                memory=self._memory,
                min_job_age=10,
                accounting=_ACCOUNTING.format(folder=self.folder, port=port + len(self.nodes) + 101)
                if self._accounting
                else "",
            )
        )
        (self.folder / "etc/cgroup.conf").write_text("CgroupAutomount=no\n")
        for path in [self.folder, *self.folder.rglob("*")]:
            os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
            path.chmod(0o755 if path.is_dir() else 0o644)
        key.parent.chmod(0o700)
        key.chmod(0o400)

    def _start_accounting(self) -> None:
        """Start MariaDB on a socket and loopback, and slurmdbd over it."""
        data, sock = self.folder / "db", self.folder / "db.sock"
        port = self._ports + len(self.nodes) + 102
        user = [f"--user={self._owner.pw_name}"] if os.geteuid() == 0 else []
        common = ["--no-defaults", *user, f"--datadir={data}"]
        subprocess.run(
            [
                "mariadb-install-db",
                *common,
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            capture_output=True,
            check=True,
            timeout=120,
        )
        options = [f"--socket={sock}", f"--port={port}", "--bind-address=127.0.0.1", "--skip-log-bin",
                   "--innodb-flush-log-at-trx-commit=0", f"--log-error={self.folder}/log/mariadb.log"]  # fmt: skip
        self._database = subprocess.Popen(["mariadbd", *common, *options], env={"PATH": PATH})
        ask = ["mariadb", "--no-defaults", "-uroot", f"--socket={sock}", "-e"]
        deadline = time.monotonic() + 60
        while subprocess.run([*ask, "select 1"], capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, "MariaDB did not start"
            time.sleep(0.2)
        orders = (
            "create database slurm_acct; create user slurm@'127.0.0.1' identified by 'slurm'; "
            "create user slurm@localhost identified by 'slurm'; grant all on slurm_acct.* to slurm@'127.0.0.1'; "
            "grant all on slurm_acct.* to slurm@localhost"
        )
        subprocess.run([*ask, orders], check=True, capture_output=True)
        conf = self.folder / "etc/slurmdbd.conf"
        conf.write_text(
            _DBD_CONF.format(
                folder=self.folder,
                user=self._owner.pw_name,
                port=self._ports + len(self.nodes) + 101,
                database=port,
            )
        )
        os.chown(conf, self._owner.pw_uid, self._owner.pw_gid)
        conf.chmod(0o600)  # slurmdbd refuses a wider mode
        self._daemon("slurmdbd")
        deadline = time.monotonic() + 60
        while not self.run("sacctmgr", "-n", "show", "cluster", check=False).strip():
            assert time.monotonic() < deadline, (self.folder / "log/slurmdbd.log").read_text()
            self.run("sacctmgr", "-i", "add", "cluster", "test", check=False)
            time.sleep(0.2)
        self.run("sacctmgr", "-i", "add", "account", "laboratory")
        me = pwd.getpwuid(os.geteuid()).pw_name
        self.run("sacctmgr", "-i", "add", "user", me, "account=laboratory", "defaultaccount=laboratory")

    def _daemon(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [program, *arguments], env=self._environment(), cwd=self.folder, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False, **self._as_owner(),
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stderr}"

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        return {**kept, "PATH": PATH, "SLURM_CONF": str(self.conf), "USER": self._owner.pw_name}

    def _as_owner(self) -> dict[str, object]:
        if os.geteuid() or self._owner.pw_uid == 0:
            return {}
        return {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}

    @staticmethod
    def _end(file: Path, how: int = signal.SIGTERM) -> None:
        process = psutil.Process(int(file.read_text()))
        process.send_signal(how)
        process.wait(timeout=20)


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def _of_node(step: psutil.Process, folder: Path, node: str) -> bool:
    """Whether a slurmstepd belongs to a node: its log file or working folder is that node's."""
    spool = f"{folder}/spool/{node}"
    try:
        children = [step, *step.children(recursive=True)]
        return any(
            each.environ().get("SLURMD_NODENAME") == node
            and str(folder) in each.environ().get("SLURM_CONF", "")
            for each in children[1:]
        ) or step.cwd().startswith(spool)
    except psutil.Error:
        return False


def _free_ports(count: int) -> int:
    """Return the first of `count` ports in a row that nobody listens on."""
    taken = {each.laddr.port for each in psutil.net_connections("tcp") if each.laddr}
    first = 21000 + (os.getpid() * 137) % 9000
    while any(port in taken for port in range(first, first + count)):
        first += count
    return first
