"""The site of a Slurm cluster that comes along, and what its hub refuses."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from genesis_hub import resources
from genesis_hub.settings import Settings
from genesis_hub.spawners.slurm import SlurmSpawner, _words
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import load_site


@pytest.fixture
def site():
    return load_site(resources.site_file("slurm"))


def test_a_hub_as_root_starts_nobodys_server_as_root(site, monkeypatch):
    alone = site.model_copy(update={"servers": site.servers.model_copy(update={"become": []})})
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(InvalidInput, match="would start everybody's server as root"):
        Settings(alone, None, None, None)._slurm(SimpleNamespace())


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"state": "waiting", "position": 3, "reason": "It waits."}, "Place 3 in the queue. It waits."),
        (
            {"state": "waiting", "reason": "r", "estimated_start": "2026-01-02T03:04:05Z"},
            "start at 2026-01-02T03:04 UTC",
        ),
        ({"state": "starting", "reason": ""}, "is starting"),
    ],
)
def test_the_waiting_page_says_where_the_job_is(now, words):
    assert words in _words(now)[1]


class Asked(SlurmSpawner):
    """A spawner whose program answers that the job runs, and keeps what it was asked."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.verbs = []

    async def _ask(self, verb, asked):
        self.verbs.append(verb)
        return {"state": "running"} if verb == "look" else {}


@pytest.mark.parametrize(
    ("then", "now", "ended"),
    [("", "", False), ("one", "one", False), ("", "one", True), ("one", "", True), ("one", "two", True)],
)
async def test_a_server_that_the_hub_cannot_reach_any_more_is_ended_and_the_person_told(then, now, ended):
    spawner = Asked(
        user=SimpleNamespace(name=f"a-{then}-{now}"), tls=SimpleNamespace(authority=now) if now else None
    )
    spawner.load_state({"job": "7", "start": "00", **({"authority": then} if then else {})})
    assert await spawner.poll() == (1 if ended else None)
    assert spawner.verbs == ["end" if ended else "look"]
    assert ("start it again" in spawner.last_words) == ended
    assert spawner.get_state() == {"job": "7", "start": "00", "authority": then}
