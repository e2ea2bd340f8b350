"""Seconds to the sign-in page and from sign-in to an interactive Lab, ours against a plain default JupyterHub.

Both run from the same environment, one after the other, five times in turns, each at its second start or later; the
median counts. ``ratio`` is the peer's seconds over ours for sign-in page plus Lab: above 1 is better than the peer. The
goal is that ours takes at most 1.1 times as long. Needs Chromium. Last line: JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
from playwright.sync_api import sync_playwright

from genesis_hub.supervisor import proxy_command

ROUNDS = 5
BIN = Path(sys.executable).parent
SITE = 'name = "benchmark"\n[catalog]\nsources = []\n'


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(
    command: list[str], folder: Path, login: str, environment: dict[str, str]
) -> Iterator[tuple[float, psutil.Process]]:
    """Start a hub, wait for its sign-in page, and give the seconds that took."""
    with (folder / "output").open("ab") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=output, env=environment, start_new_session=True
        )
        try:
            while True:
                try:
                    if httpx.get(login, trust_env=False, timeout=2).status_code == httpx.codes.OK:
                        break
                except httpx.TransportError:
                    pass
                if process.poll() is not None or time.perf_counter() - begun > 120:
                    sys.exit(f"The hub did not start; read {folder / 'output'}.")
                time.sleep(0.02)
            yield time.perf_counter() - begun, psutil.Process(process.pid)
        finally:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
            for each in family:
                if each.is_running():
                    each.kill()
            psutil.wait_procs(family, timeout=20)


def to_lab(login: str, name: str, password: str) -> float:
    """Sign in with a real browser and return the seconds until Lab can be used."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(login)
        page.fill("#username_input", name)
        page.fill("#password_input", password)
        begun = time.perf_counter()
        page.click("#login_submit")
        page.locator(".jp-Launcher .jp-LauncherCard").first.wait_for(timeout=120_000)
        took = time.perf_counter() - begun
        browser.close()
    return took


def memory_of(process: psutil.Process) -> int:
    """Return the memory of a process tree, shared pages counted once (PSS)."""
    return sum(each.memory_full_info().pss for each in [process, *process.children(recursive=True)])


def ours(folder: Path) -> tuple[float, float, int]:
    """Measure the workbench."""
    port = free_port()
    site, state = folder / "site.toml", folder / "state"
    command = [str(BIN / "workbench"), "up", "--site", str(site), "--port", str(port), "--state", str(state)]
    login = f"http://127.0.0.1:{port}/hub/login"
    if not site.exists():
        site.write_text(SITE)
        made = subprocess.run(
            [str(BIN / "workbench"), "users", "add", "ada", "--state", str(state)],
            capture_output=True,
            text=True,
            check=True,
        )
        (folder / "password").write_text(made.stdout.partition("password ")[2].split()[0])
        with started(command, folder, login, dict(os.environ)):
            pass
    with started(command, folder, login, dict(os.environ)) as (seconds, process):
        time.sleep(5)
        memory = memory_of(process)
        return seconds, to_lab(login, "ada", (folder / "password").read_text()), memory


def peer(folder: Path) -> tuple[float, float, int]:
    """Measure JupyterHub as it comes: its own proxy, its simplest authenticator and spawner."""
    port = free_port()
    config, first = folder / "jupyterhub_config.py", not (folder / "jupyterhub.sqlite").exists()
    config.write_text(
        f"c.JupyterHub.bind_url = 'http://127.0.0.1:{port}'\n"
        f"c.JupyterHub.hub_port = {free_port()}\n"
        f"c.ConfigurableHTTPProxy.api_url = 'http://127.0.0.1:{free_port()}'\n"
        f"c.ConfigurableHTTPProxy.command = {proxy_command()!r}\n"
        "c.JupyterHub.authenticator_class = 'shared-password'\n"
        "c.SharedPasswordAuthenticator.user_password = 'a-password-for-measuring'\n"
        "c.Authenticator.allow_all = True\n"
        "c.JupyterHub.spawner_class = 'simple'\n"
        "c.Spawner.args = ['--allow-root']\n"
    )
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "jupyterhub", "--config", str(config)]
    login = f"http://127.0.0.1:{port}/hub/login"
    if first:
        with started(command, folder, login, environment):
            pass
    with started(command, folder, login, environment) as (seconds, process):
        time.sleep(5)
        memory = memory_of(process)
        return seconds, to_lab(login, "ada", "a-password-for-measuring"), memory


def main() -> None:
    """Measure in turns and print."""
    measured: dict[str, list[tuple[float, float, int]]] = {"ours": [], "peer": []}
    with tempfile.TemporaryDirectory(prefix="first-light-") as folder:
        for each in measured:
            (Path(folder) / each).mkdir()
        for number in range(ROUNDS):
            for name, measure in (("ours", ours), ("peer", peer)):
                measured[name].append(measure(Path(folder) / name))
                page, lab, memory = measured[name][-1]
                print(
                    f"round {number + 1} {name}: sign-in page {page:.1f} s, Lab {lab:.1f} s, idle {memory / 2**20:.0f} MiB"
                )
    figures: dict[str, float] = {}
    for name, rounds in measured.items():
        for i, what in enumerate(("sign_in_page_s", "sign_in_to_lab_s")):
            figures[f"{name}_{what}"] = round(statistics.median(each[i] for each in rounds), 2)
        figures[f"{name}_idle_mib"] = round(statistics.median(each[2] for each in rounds) / 2**20)
    ratio = (figures["peer_sign_in_page_s"] + figures["peer_sign_in_to_lab_s"]) / (
        figures["ours_sign_in_page_s"] + figures["ours_sign_in_to_lab_s"]
    )
    figures["page_ratio"] = round(figures["peer_sign_in_page_s"] / figures["ours_sign_in_page_s"], 3)
    figures["lab_ratio"] = round(figures["peer_sign_in_to_lab_s"] / figures["ours_sign_in_to_lab_s"], 3)
    print(
        json.dumps(
            {
                "benchmark": "first_light",
                "ratio": round(ratio, 3),
                "goal": round(1 / 1.1, 3),
                "figures": figures,
            }
        )
    )


if __name__ == "__main__":
    main()
