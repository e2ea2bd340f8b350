"""A site file with a mistake names the mistake."""

from __future__ import annotations

import pytest

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import load_site


def test_an_unknown_key_names_the_nearest_known_one(tmp_path):
    file = tmp_path / "site.toml"
    file.write_text('name = "x"\n[hub]\nprot = 8001\n')
    with pytest.raises(InvalidInput, match=r"'hub.prot' \(did you mean 'port'\?\)"):
        load_site(file)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            "[hub]\ninternal_tls = true",
            "used: hub.internal_tls cannot be true where servers.spawner is 'local'",
        ),
        (
            '[[servers.profiles]]\nname = "team"\ntitle = "T"\ncollaboration = true',
            "'servers.profiles.0': collaboration = true needs `groups`",
        ),
    ],
)
def test_a_rule_over_several_keys_is_told_without_the_whole_table(tmp_path, table, said):
    file = tmp_path / "site.toml"
    file.write_text(f'name = "x"\n{table}\n')
    with pytest.raises(InvalidInput) as told:
        load_site(file)
    assert said in told.value.message
    assert "{" not in told.value.message


def test_origins_differ_by_person(tmp_path):
    file = tmp_path / "site.toml"
    file.write_text('name = "x"\n')
    site = load_site(file)
    assert site.public_url == "http://127.0.0.1:8000"
    assert site.origin("alice", "user") == "http://alice--user.localhost:8000"
