"""Logs do not fill the disk, and programs that write them go on."""

from __future__ import annotations

from genesis_hub.logs import shorten


def test_a_log_that_has_grown_begins_anew_with_what_it_said_beside_it(tmp_path):
    with (tmp_path / "hub.log").open("ab", buffering=0) as writer:
        for number in range(300):
            writer.write(b"line %4d\n" % number)
        (tmp_path / "small.log").write_bytes(b"little")
        assert shorten(tmp_path, 1000) == ["hub.log"]
        older = (tmp_path / "hub.log.1").read_bytes()
        assert older.endswith(b"line  299\n")
        assert len(older) == 1000  # the rest is what filled the disk
        writer.write(b"afterwards\n")
        assert (tmp_path / "hub.log").read_bytes() == b"afterwards\n"
        assert shorten(tmp_path, 1000) == []
    assert (tmp_path / "small.log").read_bytes() == b"little"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub.log", "hub.log.1", "small.log"]


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"x" * 2000)
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "hub.log").symlink_to(tmp_path / "elsewhere")
    assert shorten(folder, 1000) == []
    assert (tmp_path / "elsewhere").stat().st_size == 2000
