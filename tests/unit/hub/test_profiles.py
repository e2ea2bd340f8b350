"""People see the servers that their groups may use, and can start no other."""

from __future__ import annotations

import pytest

from genesis_hub import profiles
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.site import ProfileSection

SMALL = ProfileSection(name="small", title="Small", memory_bytes=2**30)
LARGE = ProfileSection(name="large", title="<b>Large</b>", description="For 'solar'", groups=["solar"])


def test_the_page_offers_what_the_groups_may_use_and_escapes_it():
    page = profiles.form([SMALL, LARGE], ["solar"])
    assert 'value="small" checked' in page
    assert "1 GiB" in page
    assert "&lt;b&gt;Large" in page
    assert profiles.form([SMALL, LARGE], []) == ""


def test_a_choice_is_checked_on_the_server():
    assert profiles.chosen([SMALL, LARGE], ["solar"], profiles.from_form({"profile": ["large"]})) == LARGE
    assert profiles.chosen([SMALL, LARGE], [], {}) == SMALL
    with pytest.raises(InvalidInput, match=r"'large'\. You can choose: small"):
        profiles.chosen([SMALL, LARGE], [], {"profile": "large"})
    with pytest.raises(InvalidInput, match="None of this site's servers"):
        profiles.chosen([LARGE], [], {})
