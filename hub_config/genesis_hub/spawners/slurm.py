"""Servers as Slurm jobs of the person, asked for through a small program that runs as that person.

The hub holds no right over jobs or homes: it starts ``genesis_workbench.compute.batch_server`` by the words that the site
names (``sudo -n -u {person} --``), hands over what the profile allows, and reads where the job is. Nothing that a server
or a person says sets anything of the hub's: there is no handler for it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from datetime import timedelta
from typing import Any

from jupyterhub.spawner import Spawner
from traitlets import Float, List, Unicode

from genesis_hub.availability import Free, Places
from genesis_hub.names import server_name
from genesis_hub.spawners._base import DASHBOARD_VARIABLE, SERVER, WorkbenchSpawner, ended_at_once, refused
from genesis_workbench.core.errors import BY_CODE, DeadlineExceeded, GenesisError, Unavailable
from genesis_workbench.core.homes import Home
from genesis_workbench.core.site import ProfileSection

_PROGRAM = "genesis_workbench.compute.batch_server"
_ANSWER_S, _LOST = 60, 1
_AFTER = timedelta(hours=1)  # a job may outlast its walltime a little, and clocks differ


class SlurmSpawner(WorkbenchSpawner, Spawner):
    """A batch job that runs as the person, with their real home."""

    site_file = Unicode(help="Site file, as the person can read it.").tag(config=True)
    become: Any = List(help="Words that run a program as '{person}'; none where all are one account.").tag(
        config=True
    )
    python = Unicode(help="Python with the workbench, on every machine of the cluster.").tag(config=True)
    poll_s = Float(2.0, help="Seconds between two looks at a job that starts.").tag(config=True)

    job = Unicode(help="Number of the job; empty where there is none.")
    _start_id = Unicode()

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a server that an earlier hub started."""
        super().load_state(state)
        self.job, self._start_id = state.get("job", ""), state.get("start", "")
        self._authority = state.get("authority", "")

    def get_state(self) -> dict[str, Any]:
        """Return what the next hub needs to find the server."""
        there = {"job": self.job, "start": self._start_id, "authority": self._authority}
        return {**super().get_state(), **(there if self.job else {})}

    def clear_state(self) -> None:
        """Forget a server that has ended."""
        super().clear_state()
        self.job, self._start_id = "", ""

    async def home(self) -> Home | None:
        """Return how full the person's home is, as the program sees it; None where that cannot be told now."""
        try:
            return Home(**(await self._ask("home", {"home_bytes": self.home_bytes}))["home"])
        except GenesisError as error:
            self.log.warning("how full the home of %s is cannot be told: %s", self.user.name, error.message)
            return None

    async def start(self) -> str:
        """Submit the job and wait until it listens; the hub's own limit ends the wait."""
        await self.refuse_full_home()
        profile = self.profile()
        self._start_id, self._authority = secrets.token_hex(8), self.authority
        self.last_words = ""
        self.tell(10, "Asking the queue for a machine.")
        # An image brings its own Lab options and tutorials: the hub's would name folders of this machine.
        self.brings_lab_options = not profile.image
        asked = {
            "command": [*self._words(profile), *self.get_args(), *self.rescue_options()],
            "environment": self._variables(),
            "image": profile.image,
            "resources": {"cpu_cores": profile.cpu_cores or 1, "memory_bytes": profile.memory_bytes},
            "walltime_s": profile.walltime_s,
            "queue": profile.queue,
            "tutorials": "" if self.dashboard or self.rescue or profile.image else self.tutorials,
            "rescue": self.rescue,
        }
        try:
            self.job = (await self._ask("start", asked))["job"]
        except GenesisError as error:
            raise refused("queue", error) from error
        self.log.info("server of %s is job %s", self.user.name, self.job)
        while True:
            try:
                now = await self._ask("look", {})
            except Unavailable as error:  # the queue is away for a moment; the job is not
                now = {"state": "waiting", "reason": error.message}
            if now["state"] != "ended":
                self.tell(*_words(now))
            where = now.get("address") or {}
            if now["state"] == "running":
                return f"{'https' if self.tls else 'http'}://{where['host']}:{where['port']}"
            if "request" in where and self.tls:
                await self._certify(where, profile.walltime_s)
                continue
            if now["state"] == "ended":
                log = now.get("log") or []
                message = f"Your server ended before it could be reached. {now['reason']}"
                raise ended_at_once("ended", f"{message} {_last(log)}", log)
            await asyncio.sleep(self.poll_s)

    async def _certify(self, where: dict[str, Any], walltime_s: float) -> None:
        """Vouch for the key that the job has made, at the address that it says it has."""
        try:
            life = timedelta(seconds=walltime_s) + _AFTER
            made = self.tls.certify(where["request"], self.user.name, where["host"], life)
            files = {"certificate": made.certificate.decode(), "trusted": made.trusted.decode()}
            await self._ask("certify", files)
        except (Unavailable, DeadlineExceeded) as error:  # asked again at the next look
            self.log.warning("job %s has no certificate yet: %s", self.job, error.message)
            await asyncio.sleep(self.poll_s)
        except GenesisError as error:
            raise refused("certificate", error) from error

    async def poll(self) -> int | None:
        """Return None while the job waits or runs, else its exit status."""
        if not self.job:
            return 0
        try:
            if self.cut_off():
                await self.stop()
                return _LOST
            now = await self._ask("look", {})
        except (Unavailable, DeadlineExceeded) as error:
            self.log.warning("the queue does not say where job %s is: %s", self.job, error.message)
            return None  # a queue that is away takes no server with it
        if now["state"] != "ended":
            return None
        code: int = now.get("exit_code") or 0
        return code

    async def stop(self, now: bool = False) -> None:
        """End the job."""
        await self._ask("end", {})

    async def free(self) -> Places:
        """Return the idle cores of each queue, and who waits there, as the person sees them."""
        queues = (await self._ask("queues", {}))["queues"]
        return {
            name: Free(each["free_cores"], waiting=each["waiting_jobs"])
            for each in queues
            for name in (each["name"], *([""] if each["default"] else []))
        }

    def _words(self, profile: ProfileSection) -> list[str]:
        if profile.image and not self.dashboard:
            return ["python", "-m", "genesis_hub.inside", SERVER]
        return self.command("python" if profile.image else self._python())

    def _python(self) -> str:
        return self.python or sys.executable

    def _variables(self) -> dict[str, str]:
        """Return the server's variables: the hub's, and none of its own machine's."""
        variables = {name: str(value) for name, value in self.get_env().items()}
        if self.dashboard:
            variables[DASHBOARD_VARIABLE] = self.dashboard
        return variables

    async def _ask(self, verb: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Run the program as the person and return its answer.

        Raises
        ------
        GenesisError
            What the program says; Unavailable where it cannot be run as the person.
        """
        words = [each.replace("{person}", self.user.name) for each in self.become]
        words += [self._python(), "-m", _PROGRAM, verb, "--site", self.site_file]
        name = f"server-{server_name(self.name)}"
        text = json.dumps({"name": name, "start": self._start_id, "job": self.job, **asked})
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            out, err = await asyncio.wait_for(process.communicate(text.encode()), _ANSWER_S)
        except TimeoutError:
            process.kill()
            raise DeadlineExceeded(
                f"The cluster's queue did not answer within {_ANSWER_S} s. Try again."
            ) from None
        if process.returncode or not out.strip():
            self.log.error("%s %s: %s", _PROGRAM, verb, err.decode("utf-8", "replace")[-2000:])
            raise Unavailable(
                f"Nothing can be run as {self.user.name!r} on the cluster just now. Tell the operator: the hub's log has "
                "the words, and docs/how-to/slurm.md the rule that it needs."
            )
        answer: dict[str, Any] = json.loads(out.splitlines()[-1])
        if "error" in answer:
            raise BY_CODE.get(answer["code"], GenesisError)(answer["error"])
        return answer


def _words(now: dict[str, Any]) -> tuple[int, str]:
    """Return how far the server is, and what the waiting page says."""
    if now["state"] == "waiting":
        place = f"Place {now['position']} in the queue. " if now.get("position") else "In the queue. "
        when = (
            f" Expected to start at {now['estimated_start'][:16]} UTC." if now.get("estimated_start") else ""
        )
        return 30, f"{place}{now['reason']}{when}"
    if now["state"] == "starting":
        return 60, "A machine is yours; your server is starting on it."
    return 80, "Your server runs; the hub is connecting to it."


def _last(log: list[str]) -> str:
    return f"Its last words: {log[-1][:300]}" if log else "It left no words."
