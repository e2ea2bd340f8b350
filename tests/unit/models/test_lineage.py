"""From what a model came: as a graph, as a drawing, in its citation."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from genesis_workbench import models
from genesis_workbench.core.access import Person
from genesis_workbench.models.ancestry import levels, trace
from genesis_workbench.models.record import DatasetVersion

CODE = "sha256:" + "c" * 64


@pytest.fixture
def family(zoo, register, monkeypatch):
    monkeypatch.setattr(models, "_zoo", lambda: zoo)
    monkeypatch.setattr(models, "_person", lambda: Person("ada"))
    data = (DatasetVersion(identifier="open-air", version="2026-01", digest="sha256:d"),)
    register(
        "base", datasets=data, lineage={"code": "recipes/pretrain.py", "code_digest": CODE, "job": "job_1"}
    )
    register(
        "tuned",
        lineage={
            "parent": {"reference": "base@1", "artifact": "sha256:x"},
            "recipe": {"name": "fine-tune", "code": CODE},
            "job": {"run": "run_2", "native_id": "4711"},
            "datasets": [
                {"id": "labelled", "modified": "2026-02", "record": "sha256:e", "label": "public"},
                "odd",
            ],
            "simulator": "pvlib 0.16",
        },
    )
    return models.model("tuned@1")


def test_the_graph_names_datasets_job_code_simulator_and_parents(family):
    graph = family.lineage().as_dict()
    assert {(node["kind"], node["label"]) for node in graph["nodes"]} == {
        ("model", "tuned@1"), ("model", "base@1"), ("dataset", "labelled"), ("dataset", "open-air"), ("code", "fine-tune"),
        ("code", "pretrain.py"), ("job", "run_2"), ("job", "job_1"), ("simulator", "pvlib 0.16"),
    }  # fmt: skip
    assert graph["nodes"][0]["label"] == "tuned@1"
    details = {node["label"]: node["detail"] for node in graph["nodes"]}
    assert details["pretrain.py"] == CODE
    assert details["open-air"] == "2026-01 sha256:d"
    ends = {(edge["start"], edge["end"], edge["what"]) for edge in graph["edges"]}
    assert ("model:base@1", "model:tuned@1", "parent") in ends
    assert ("dataset:open-air 2026-01 sha256:d", "model:base@1", "trained on") in ends
    assert "open-air --trained on--> base@1" in repr(family.lineage())


def test_what_goes_into_a_thing_stands_before_it(family):
    columns = levels(family.lineage())
    assert [[node.label for node in column] for column in columns][-1] == ["tuned@1"]
    assert {node.label for node in columns[0]} == {"open-air", "pretrain.py", "job_1"}


def test_a_parent_that_one_may_not_see_is_named_and_no_more(family, zoo):
    alone = trace(family.version)
    assert {node.label for node in alone.nodes if node.kind == "model"} == {"tuned@1", "base@1"}
    assert "open-air" not in {node.label for node in alone.nodes}


def test_the_drawing_is_one_picture_with_words_and_nothing_of_what_people_wrote_acts(register):
    version = register(
        lineage={"code": "<script>alert(1)</script>", "job": "a & b"},
        datasets=(DatasetVersion(identifier='"><img onerror=1>'),),
    )
    drawn = trace(version)._repr_html_()
    root = ET.fromstring(drawn)  # noqa: S314 - drawn here
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= {
        "svg",
        "title",
        "path",
        "text",
        "g",
        "rect",
    }
    assert "onerror" not in " ".join(key for element in root.iter() for key in element.attrib)
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "a & b" in texts
    assert root.attrib["role"] == "img"


def test_without_lineage_there_is_one_node(register):
    graph = trace(register())
    assert (len(graph.nodes), graph.edges) == (1, ())
    assert "nothing is known" in repr(graph)
    assert "nothing is known" in graph._repr_html_()


def test_a_citation_names_the_datasets_with_their_versions(register):
    cited = register(
        datasets=(DatasetVersion(identifier="open-air", version="2026-01", digest="sha256:d"),)
    ).cite()
    assert "Trained on open-air (2026-01) sha256:d." in cited
    assert "tiny@1" in cited
