"""Whoever follows something gets its last events, also those that come in the very moment it is looked at, while they may."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from genesis_services import identity
from genesis_services.routes import experiments as routes
from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import PermissionRefused, SignInRequired, Unavailable

READER = Person("ada", groups=frozenset({"films"}), scopes=frozenset({"custom:experiments:read"}))


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


@pytest.mark.parametrize(
    ("later", "parts"),
    [
        (READER, 5),
        (Unavailable("The hub does not answer."), 5),
        (SignInRequired("The token is not good."), 1),
        (PermissionRefused("You may not."), 1),
        (
            Person("ada", groups=frozenset(), scopes=READER.scopes),
            1,
        ),  # no longer of the group it is shared with
    ],
    ids=["as before", "no hub", "signed out", "no right", "no group"],
)
async def test_a_stream_ends_once_its_reader_may_no_longer_look(monkeypatch, later, parts):
    monkeypatch.setattr(identity, "CACHE_S", 0)
    closed = []

    async def stream():
        try:
            for number in range(5):
                yield str(number)
        finally:
            closed.append(True)

    answers = [READER, later, later, later, later]

    async def check(_request):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    told = [part async for part in identity.while_allowed(SimpleNamespace(), check, READER, stream())]
    assert len(told) == parts
    assert closed == [True]
