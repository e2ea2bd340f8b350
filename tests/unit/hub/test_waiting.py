"""What the waiting page is told: the whole story to everybody who asks, and the end in words that are text."""

from __future__ import annotations

from jupyterhub.spawner import SimpleLocalProcessSpawner

from genesis_hub.spawners._base import WorkbenchSpawner, ended_at_once


class Waiting(WorkbenchSpawner, SimpleLocalProcessSpawner):
    """Of a spawner only what tells."""


async def heard(spawner, count):
    found = []
    async for event in spawner.progress():
        found.append((event["progress"], event["message"]))
        event["ready"] = True  # what one listener does with an event is not seen by another
        if len(found) == count:
            break
    return found


async def test_whoever_loads_the_page_again_hears_the_story_from_its_beginning():
    spawner = Waiting()
    story = [(10, "Asking the queue."), (30, "Place 2 in the queue."), (30, "Place 1 in the queue.")]
    for event in story[:2]:
        spawner.tell(*event)
    assert await heard(spawner, 2) == story[:2]
    spawner.tell(*story[1])  # the same again is no news
    spawner.tell(*story[2])
    assert await heard(spawner, 3) == story
    assert all("ready" not in event for event in spawner._told)


def test_the_last_lines_of_a_server_are_text_and_whole():
    failure = ended_at_once("ended", "It ended. Its last words: <b>", ["first", "<script>alert(1)</script>"])
    assert failure.jupyterhub_message == "It ended. Its last words: <b>"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in failure.jupyterhub_html_message
    assert "<script>" not in failure.jupyterhub_html_message
    assert "first" in failure.get_message()  # the log has them, too
