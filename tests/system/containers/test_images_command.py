"""`workbench images` on real engines."""

from __future__ import annotations

import json
import subprocess

import pytest

from harness import BIN


def images(cluster, verb, site, *options):
    file = cluster.folder / "images.toml"
    file.write_text(f'name = "images"\n{site}')
    command = [str(BIN / "workbench"), "images", verb, "--site", str(file), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_every_machine_is_listed_with_the_line_for_the_site_file(cluster):
    told = json.loads(images(cluster, "list", cluster.site(), "--json").stdout)
    assert {(each["node"], each["image"]) for each in told} == {
        (node.name, cluster.image) for node in cluster.nodes
    }
    assert f'image = "{cluster.image}"' in images(cluster, "list", cluster.site()).stdout


@pytest.mark.parametrize(
    ("image", "words", "status"),
    [
        ("", "OK", 0),
        ("localhost/probe:1", "not by its digest", 1),
        ("sha256:" + "0" * 64, "it is not on this machine", 1),
    ],
)
def test_a_site_is_checked_on_every_machine(cluster, image, words, status):
    done = images(cluster, "check", cluster.site(image=image or cluster.image))
    assert done.returncode == status
    assert done.stdout.count(words) == len(cluster.nodes)


def test_a_machine_that_does_not_answer_is_a_failure(cluster):
    site = cluster.site().replace("engine.sock", "nothing.sock")
    done = images(cluster, "check", site)
    assert done.returncode == 1
    assert "does not answer" in done.stdout
    assert images(cluster, "list", site).returncode == 1
