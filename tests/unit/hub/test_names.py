"""Two different servers of a person never have one name where it becomes a container's or a folder's."""

from __future__ import annotations

import pytest

from genesis_hub.names import dashboard_of, server_name


def test_the_default_servers_name_is_no_other_servers():
    names = ["", "lab", "Lab", "LAB", "a b", "a/b", "dsh-0123456789abcdef"]
    assert len({server_name(name) for name in names}) == len(names)
    assert server_name("") == "lab"
    assert server_name("dsh-0123456789abcdef") == "dsh-0123456789abcdef"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, ""),
        ({"dashboard": "x"}, "x"),
        ({"dashboard": "dsh-0123456789abcdef"}, ""),
        ({"dashboard": 7}, "7"),
    ],
)
def test_a_lab_that_says_it_is_a_dashboard_is_none(options, name):
    assert dashboard_of(options, name) == ""


def test_a_dashboards_server_has_its_name():
    name = "dsh-0123456789abcdef"
    assert dashboard_of({"dashboard": name}, name) == name
