"""Whoever follows an experiment gets its last events, also those that come in the very moment it is looked at."""

from __future__ import annotations

from types import SimpleNamespace

from genesis_services.routes import experiments as routes


class Crossing:
    """An experiment that ends just after its events were read."""

    def __init__(self):
        self.reads = 0

    def events(self, _experiment, _after):
        self.reads += 1
        return [{"seq": 9, "kind": "experiment.ended"}] if self.reads == 2 else []


async def test_events_that_cross_the_look_at_the_end_are_not_lost(monkeypatch):
    monkeypatch.setattr(routes, "_ended", lambda _experiments, _experiment: True)

    async def connected():
        return False

    request = SimpleNamespace(is_disconnected=connected)
    told = [part async for part in routes._follow(request, Crossing(), "exp_1", 3)]
    assert [part.partition("\n")[0] for part in told] == ["id: 9", "event: end"]
