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


def test_origins_differ_by_person(tmp_path):
    file = tmp_path / "site.toml"
    file.write_text('name = "x"\n')
    site = load_site(file)
    assert site.public_url == "http://127.0.0.1:8000"
    assert site.origin("alice", "user") == "http://alice--user.localhost:8000"
