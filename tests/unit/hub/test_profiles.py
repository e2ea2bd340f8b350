"""People see the servers that their groups may use, set in them what is allowed, and can start no other."""

from __future__ import annotations

import asyncio

import pytest

from genesis_hub import choosing, profiles
from genesis_hub.availability import Free, Look, Machine
from genesis_workbench.core.errors import InvalidInput, Unavailable
from genesis_workbench.core.site import ProfileSection

SMALL = ProfileSection(name="small", title="Small", memory_bytes=2**30)
LARGE = ProfileSection(name="large", title="<b>Large</b>", description="For 'solar'", groups=["solar"])
OPEN = ProfileSection(
    name="open",
    title="Open",
    cpu_cores=2,
    memory_bytes=2 * 2**30,
    limits={"cpu_cores": (1, 8), "memory_bytes": (2**30, 16 * 2**30)},
    queues=["day", "night"],
    images={"Plain": "sha256:" + "1" * 64, "Physics": "sha256:" + "2" * 64},
)


def shown(choices, last=None, places=None, **told):
    return choosing.page(choices, last or {}, places or {}, "", **told)


def test_the_page_offers_what_the_groups_may_use_and_escapes_it():
    page = shown(profiles.permitted([SMALL, LARGE], ["solar"]), last_words="It <ended>.")
    assert 'value="small" aria-describedby="profile-1-about" checked' in page
    assert "1 GiB" in page
    assert "&lt;b&gt;Large" in page
    assert "It &lt;ended&gt;." in page
    assert "large" not in shown(profiles.permitted([SMALL, LARGE], []))


def test_one_profile_with_nothing_to_set_is_started_without_asking():
    assert not profiles.asks([SMALL])
    assert profiles.asks([OPEN])
    assert profiles.asks([SMALL, LARGE])


def test_a_choice_is_checked_on_the_server():
    assert profiles.chosen([SMALL, LARGE], ["solar"], profiles.from_form({"profile": ["large"]})) == LARGE
    assert profiles.chosen([SMALL, LARGE], [], {}) == SMALL
    with pytest.raises(InvalidInput, match=r"'large'\. You can choose: small"):
        profiles.chosen([SMALL, LARGE], [], {"profile": "large"})
    with pytest.raises(InvalidInput, match="None of this site's servers"):
        profiles.chosen([LARGE], [], {})


def test_what_the_form_says_of_the_chosen_profile_counts_in_its_units():
    fields = {
        "profile": ["open"],
        "open.cpu_cores": ["4"],
        "open.memory_bytes": ["1.5"],
        "open.image": ["Physics"],
        "small.cpu_cores": ["64"],
        "cmd": ["sh"],
    }
    options = profiles.from_form(fields)
    assert options == {"profile": "open", "cpu_cores": 4, "memory_bytes": 3 * 2**29, "image": "Physics"}
    found = profiles.chosen([SMALL, OPEN], [], options)
    assert (found.cpu_cores, found.memory_bytes) == (4, 3 * 2**29)
    assert (found.queue, found.image) == ("day", OPEN.images["Physics"])
    with pytest.raises(InvalidInput, match="'a lot' is no number of cores"):
        profiles.from_form({"profile": ["open"], "open.cpu_cores": ["a lot"]})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"profile": "open", "cpu_cores": 9}, "can be 1 to 8 cores, not 9"),
        ({"profile": "open", "cpu_cores": True}, "can be 1 to 8 cores"),
        ({"profile": "open", "cpu_cores": float("nan")}, "can be 1 to 8 cores"),
        ({"profile": "open", "memory_bytes": 2**40}, "can be 1 to 16 GiB, not 1024"),
        ({"profile": "open", "memory_bytes": "8589934592"}, "can be 1 to 16 GiB"),
        ({"profile": "open", "walltime_s": 10}, "time cannot be set here"),
        ({"profile": "open", "queue": "secret"}, "no queue 'secret' to choose. There is: day, night"),
        ({"profile": "open", "image": "sha256:" + "3" * 64}, "There is: Plain, Physics"),
        ({"profile": "small", "image": "Plain"}, "There is: the site's image only"),
        ({"profile": "small", "cpu_cores": 2}, "processor cores cannot be set here"),
    ],
)
def test_nothing_is_set_that_the_profile_does_not_allow(options, words):
    with pytest.raises(InvalidInput, match=words):
        profiles.chosen([SMALL, OPEN], [], options)


def test_other_options_set_nothing():
    options = {"profile": "small", "title": "x", "groups": ["all"], "become": ["sh"], "memory": 2**50}
    assert profiles.chosen([SMALL, OPEN], [], options) == SMALL


def test_the_last_choice_is_filled_in_within_todays_limits():
    page = shown([SMALL, OPEN], {"profile": "open", "cpu_cores": 64, "queue": "night", "image": "gone"})
    assert 'value="open" aria-describedby="profile-2-about" checked' in page
    assert 'name="open.cpu_cores" value="8" min="1" max="8"' in page
    assert "<option selected>night</option>" in page
    assert "<option selected>Plain</option>" in page


def test_a_card_says_what_is_free_where_its_server_would_run():
    places = {"day": Free(1, waiting=3), "night": Free(40), "": Free(7, 2**34)}
    page = shown([OPEN, SMALL], places=places)
    assert "<b>Busy now.</b> Free: 1 core; 3 waiting." in page
    assert "<b>Free now:</b> 7 cores and 16.0 GiB of memory." in page
    assert "Free" not in shown([OPEN, SMALL])


def test_a_card_that_is_larger_than_any_machine_does_not_say_that_it_is_busy_now():
    size = max(SMALL.cpu_cores, 1), max(SMALL.memory_bytes, 1)
    for machine, words in (
        (Machine(size[0] - 1, size[1] - 1), "<b>Larger than any machine here.</b> Free: 0 cores"),
        (Machine(*size), "<b>Busy now.</b> Free: 0 cores"),
    ):
        free = Free.on([Machine(0, 0)], empty=[machine])
        assert words in shown([SMALL], places={"": free})


async def test_one_look_serves_everybody_and_a_slow_one_delays_nobody(monkeypatch):
    asked, slow = [], asyncio.Event()

    async def ask():
        asked.append(1)
        if len(asked) > 1:
            await slow.wait()
        return {"": Free(len(asked))}

    look = Look()
    answers = await asyncio.gather(*(look.now(ask) for _ in range(50)))
    assert [answer[""].cpu_cores for answer in answers] == [1] * 50
    monkeypatch.setattr("genesis_hub.availability._KEEP_S", 0)
    monkeypatch.setattr("genesis_hub.availability._DEADLINE_S", 0.05)
    assert await look.now(ask) == {}
    assert len(asked) == 2
    slow.set()
    monkeypatch.setattr("genesis_hub.availability._DEADLINE_S", 5)
    assert (await look.now(ask))[""].cpu_cores == 2


async def test_a_place_that_cannot_be_asked_is_not_invented():
    async def ask():
        raise Unavailable("The queue is away.")

    assert await Look().now(ask) == {}
