"""How full a home is, and who may start what in a full one."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from types import SimpleNamespace

import pytest
from jupyterhub.spawner import SimpleLocalProcessSpawner, SpawnException

from genesis_hub import homes
from genesis_hub.spawners._base import WorkbenchSpawner
from genesis_workbench.core.site import ProfileSection

Disk = namedtuple("Disk", "total used free")
MIB = 2**20


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "homes" / "alice"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "data").write_bytes(os.urandom(4 * MIB))
    return folder


class InHome(WorkbenchSpawner, SimpleLocalProcessSpawner):
    folder = None

    def home_folder(self):
        return self.folder


@pytest.fixture
def spawner(home):
    made = InHome(profiles=[ProfileSection(name="small", title="Small")], home_bytes=2 * MIB)
    made.folder = home
    made.user = SimpleNamespace(
        name="alice", escaped_name="alice", groups=[], orm_user=SimpleNamespace(_orm_spawners=[])
    )
    made.hub = SimpleNamespace(base_url="/hub/")
    made.user_options = {}
    return made


def test_files_are_counted_once_and_links_not_followed(home, tmp_path):
    os.link(home / "deep/er/data", home / "again")
    (tmp_path / "elsewhere").write_bytes(os.urandom(8 * MIB))
    (home / "link").symlink_to(tmp_path / "elsewhere")
    found = homes.look(home, 10 * MIB)
    assert 4 * MIB <= found.used_bytes < 5 * MIB
    assert found.whole
    assert not found.full
    assert found.words == "Your home holds: 0.00 GiB of 0.01 GiB."


def test_counting_that_takes_too_long_says_so(home):
    found = homes.look(home, 10 * MIB, deadline_s=-1)
    assert not found.whole
    assert "at least" in found.words


def test_a_project_quota_of_the_file_system_counts_before_the_sites_own(home, monkeypatch):
    sizes = {home: Disk(6 * MIB, 6 * MIB, 0), home.parent: Disk(900 * MIB, 1, 899 * MIB)}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: sizes[path])
    found = homes.look(home, 0)
    assert (found.used_bytes, found.limit_bytes, found.full) == (6 * MIB, 6 * MIB, True)


def test_a_full_disk_is_told_as_such(home, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Disk(900 * MIB, 899 * MIB, MIB))
    assert "The disk of your home is full" in homes.look(home, 0).words
    assert homes.look(home, 0).full


def test_a_quota_that_shows_only_when_somebody_writes_is_found_and_leaves_nothing(home, monkeypatch):
    def full(_):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    assert not homes.look(home, 0, write=True).full
    monkeypatch.setattr(os, "fsync", full)
    found = homes.look(home, 0, write=True)
    assert found.words == "Your home is full: your quota on its disk takes nothing more."
    assert not homes.look(home, 0).full, "the hub itself never writes into a home"
    assert [each.name for each in home.iterdir()] == ["deep"]
    assert homes.reported(homes.report(found)).full


def test_without_a_limit_the_page_says_what_the_disk_has_left(home, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(9 * 2**30, 2 * 2**30, 7 * 2**30))
    assert homes.look(home, 0).words == "The disk of your home has 7.00 GiB left, for everybody on it."
    assert homes.look(home / "not/there/yet", 0).left_bytes == 7 * 2**30


async def test_in_a_full_home_only_the_rescue_server_starts_and_the_refusal_leads_to_it(spawner):
    page = await spawner.page()
    assert "Your home is full" in page
    assert 'value="rescue"' in page
    assert 'value="small"' not in page
    with pytest.raises(SpawnException) as refused:
        await spawner.refuse_full_home()
    assert "Start the Rescue server" in refused.value.jupyterhub_message
    assert 'href="/hub/spawn/alice"' in refused.value.jupyterhub_html_message
    spawner.user_options = {"profile": "rescue"}
    await spawner.refuse_full_home()
    assert spawner.profile() == homes.RESCUE
    assert spawner.rescue_variables("/run/x")["JUPYTER_DATA_DIR"] == "/run/x/jupyter_data_dir"
    assert "--FileContentsManager.delete_to_trash=False" in spawner.rescue_options()


async def test_deleting_helps_at_once(spawner, home):
    assert (await spawner.home()).full
    (home / "deep/er/data").unlink()
    await spawner.refuse_full_home()
    assert await spawner.page() == ""  # one profile, nothing to choose


def test_a_disk_made_for_one_home_is_asked_itself_and_a_larger_one_counted(home, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: path == home)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(9 * MIB, 3 * MIB, 6 * MIB))
    assert homes.look(home, 10 * MIB) == homes.Home(3 * MIB, 9 * MIB, 6 * MIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(900 * MIB, 30 * MIB, 870 * MIB))
    found = homes.look(home, 10 * MIB)
    assert (found.used_bytes // MIB, found.limit_bytes) == (4, 10 * MIB)


def test_a_server_that_alone_sees_the_home_says_how_full_it_is_and_does_not_start_in_a_full_one(home):
    environment = {**os.environ, "HOME": str(home), homes.LIMIT_VARIABLE: str(MIB)}
    server = [sys.executable, "-m", "genesis_hub.inside", "jupyterhub.singleuser", "--version"]
    ended = subprocess.run(server, env=environment, capture_output=True, text=True, check=False)
    told = homes.reported(ended.stdout)
    assert ended.returncode == 1
    assert "Your home is full" in ended.stderr
    assert told.full
    assert time.time() - told.seen < 60
    assert [each.name for each in home.iterdir()] == ["deep"], "nothing is written into a full home"


def test_what_was_seen_before_is_told_as_such():
    seen = homes.Home(3 * 2**30, 10 * 2**30, 2**40, seen=time.time() - 3 * 3600)
    assert seen.words == "Your home held when your last server started, 3 hours ago: 3.00 GiB of 10.00 GiB."


@pytest.mark.parametrize(
    "line",
    [
        "[I 2026] Jupyter says hello",
        "home: {",
        "home: []",
        "home: {}",
        'home: {"used_bytes": "many"}',
        'home: {"used_bytes": NaN, "limit_bytes": 1, "left_bytes": 1, "whole": true}',
        'home: {"used_bytes": Infinity, "limit_bytes": 1, "left_bytes": 1, "whole": true}',
    ],
)
def test_a_line_that_anybody_may_have_written_into_the_log_breaks_nothing(line):
    assert homes.reported(line) is None


def test_an_image_may_tell_more_than_the_hub_knows(home):
    told = homes.report(homes.look(home, 10 * MIB)).replace("{", '{"newer": 1, ')
    assert homes.reported(told).limit_bytes == 10 * MIB


async def test_who_has_deleted_files_since_their_home_was_seen_full_may_start_again(spawner):
    seen = homes.Home(3 * MIB, 2 * MIB, 2**40, seen=time.time())

    async def home():
        return seen

    spawner.home = home
    page = await spawner.page()
    assert 'value="small"' in page
    assert 'value="rescue"' in page
    assert "Your home was full when your last server started, just now: 0.00 GiB" in page


async def test_whoever_may_start_no_server_may_start_no_rescue_server(spawner):
    spawner.profiles = [ProfileSection(name="small", title="Small", groups=["lab"])]
    spawner.user_options = {"profile": "rescue"}
    with pytest.raises(SpawnException, match="open to your groups"):
        spawner.profile()
    assert 'value="rescue"' not in await spawner.page()
