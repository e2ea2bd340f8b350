"""An exported experiment is an RO-Crate that other people's tools read, and whose decision anybody can compute again."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from genesis_workbench.core.access import Person
from genesis_workbench.core.errors import Conflict, InvalidInput, NotFound
from genesis_workbench.core.identifiers import digest_file
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.experiments import Arm, Budget, Categorical, Real, When, loop, store
from genesis_workbench.experiments.__main__ import main
from genesis_workbench.experiments.checking import APPROVE
from genesis_workbench.experiments.crate import files_of, read_events, verify_crate, write_crate
from genesis_workbench.experiments.executors._base import Observation
from genesis_workbench.experiments.lineage import forked, replayed
from genesis_workbench.experiments.provenance import CONTEXT, PROFILE
from genesis_workbench.experiments.spec import ExperimentSpec
from genesis_workbench.experiments.state import fold, stream
from genesis_workbench.experiments.verification import verify
from unit.experiments.bench import ALICE, CAROL, run, specification
from unit.experiments.test_steps import Machine, described, to_the_end


@pytest.fixture
def events(ledger, experiments, bench):
    bench.failing, bench.optional = {4}, {"z"}
    bench.parameters = {"c": "", "x": "mm", "z": ""}
    bench.measure = lambda _number, x: {"y": (x["x"], "degC", 0.1)}
    space = (Categorical("c", ["a", "b"]), Real("x", 0, 1, unit="mm"), Real("z", 0, 1, when=When("c", ["a"])))
    spec = specification(
        space=space, arms=(Arm("control"),), budget=Budget(trials=8), title="<b>Lamps</b> & more"
    )
    experiment = experiments.create(spec)
    run(ledger, experiment, bench)
    return list(ledger.all(stream=stream(experiment)))


@pytest.fixture
def crate(events, tmp_path):
    return write_crate(events, tmp_path / "crate", license="https://spdx.org/licenses/CC-BY-4.0")


def files(crate):
    """What the report says of the files beside the events."""
    return next(check for check in verify_crate(crate).checks if check.name == "files")


def contexts():
    """The contexts that the crate names, from packages instead of the network."""
    import rocrate

    published = json.loads((Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld").read_text())[
        "@context"
    ]
    return [published, {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}, *CONTEXT[2:]]


@pytest.fixture
def graph(crate):
    from rdflib import Graph

    metadata = json.loads((crate / "ro-crate-metadata.json").read_text())
    assert metadata["@context"] == CONTEXT
    metadata["@context"] = contexts()
    with warnings.catch_warnings():
        # rdflib 7.6 uses a class of its own that it has deprecated.
        warnings.filterwarnings("ignore", message="ConjunctiveGraph is deprecated")
        return Graph().parse(data=json.dumps(metadata), format="json-ld", publicID="https://crate.invalid/")


def asked(graph, question):
    prefixes = (
        "PREFIX s: <http://schema.org/> PREFIX prov: <http://www.w3.org/ns/prov#> PREFIX dct: <http://purl.org/dc/terms/> "
        "PREFIX c: <https://crate.invalid/> "
    )
    return [tuple(str(value) for value in row) for row in graph.query(prefixes + question)]


def test_another_library_reads_it_and_finds_every_file(crate):
    from rocrate.rocrate import ROCrate

    read = ROCrate(crate)
    assert read.root_dataset["conformsTo"]["@id"] == PROFILE
    assert read.name == "<b>Lamps</b> & more"
    assert {entity.id for entity in read.data_entities} == {
        "events.jsonl", "hypothesis.json", "trials.csv", "finding.json",
    }  # fmt: skip
    for entity in read.data_entities:
        assert digest_file(crate / entity.id) == f"sha256:{entity['sha256']}"
        assert int(entity["contentSize"]) == (crate / entity.id).stat().st_size
    mentioned = {action.id for action in read.root_dataset["mentions"]}
    assert mentioned == {*(f"#trial-{number}" for number in range(1, 9)), "#decision"}


def test_what_the_profile_asks_for_is_there_as_linked_data(graph, events):
    """The MUSTs and the SHOULDs of Process Run Crate 0.5, asked of the graph that an RDF library makes."""
    state = fold(events)
    assert asked(graph, "SELECT ?p WHERE { <https://crate.invalid/> dct:conformsTo ?p }") == [(PROFILE,)]
    every = "?a a s:CreateAction; s:instrument ?tool; s:name ?n; s:endTime ?t; s:agent ?who. ?tool a s:SoftwareApplication; s:name ?m. ?who a s:Person; s:name ?w."
    assert (
        len(asked(graph, f"SELECT DISTINCT ?a WHERE {{ <https://crate.invalid/> s:mentions ?a. {every} }}"))
        == 9
    )
    failed = asked(
        graph,
        "SELECT ?a ?e WHERE { ?a s:actionStatus s:FailedActionStatus; s:error ?e. MINUS { ?a s:result ?r } }",
    )
    assert {reason for _, reason in failed} == {"the lamp is out"}
    assert len(failed) == sum(trial.state == "failed" for trial in state.trials) > 0
    took = asked(graph, 'SELECT ?a ?v ?u WHERE { ?a s:object [ s:name "x"; s:value ?v; s:unitText ?u ] }')
    assert sorted(float(value) for _, value, _ in took) == pytest.approx(
        sorted(trial.parameters["x"] for trial in state.trials)
    )
    assert {unit for *_, unit in took} == {"mm"}


def test_the_finding_leads_back_to_the_commitment_and_to_every_trial_in_terms_of_prov(graph, events):
    [(rule, version)] = asked(
        graph,
        "SELECT ?r ?v WHERE { c:finding.json prov:wasGeneratedBy ?d. ?d prov:used c:hypothesis.json, c:events.jsonl; "
        "prov:wasAssociatedWith ?r. ?r s:softwareVersion ?v; s:description ?text }",
    )
    assert rule.endswith("#rule")
    assert version == fold(events).spec.hypothesis.analysis
    [(when,)] = asked(graph, "SELECT ?t WHERE { c:hypothesis.json prov:generatedAtTime ?t }")
    starts = asked(graph, "SELECT ?t WHERE { ?a a prov:Activity; prov:startedAtTime ?t }")
    assert all(when <= start for (start,) in starts)
    assert (
        len(
            asked(
                graph, "SELECT ?v WHERE { ?v prov:wasGeneratedBy ?a. ?a prov:used ?p. ?p a s:PropertyValue }"
            )
        )
        >= 5
    )


def test_the_table_has_a_row_for_each_trial_and_runs_nothing_in_a_spreadsheet(
    ledger, experiments, bench, tmp_path
):
    bench.measure = lambda number, x: {"y": (float("nan") if number == 2 else x["x"], "degC", 0.1)}
    experiment = experiments.create(specification(budget=Budget(trials=3), parallel=1))
    run(ledger, experiment, bench)
    found = list(ledger.all(stream=stream(experiment)))
    found[-3].body["reason"] = "=HYPERLINK(1)"
    if found[-3].kind != "trial.failed":
        next(event for event in found if event.kind == "trial.failed").body["reason"] = "=HYPERLINK(1)"
    folder = write_crate(found, tmp_path / "crate")
    with (folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["observed", "failed", "observed"]
    assert float(rows[0]["y"]) == float(rows[0]["x"])
    assert rows[0]["y_uncertainty"] == "0.1"
    assert rows[1]["reason"] == "'=HYPERLINK(1)"
    assert "No licence was stated" in (folder / "ro-crate-metadata.json").read_text()


def test_the_decision_is_computed_again_from_the_export_alone(crate, events):
    assert read_events(crate) == events
    report = verify(read_events(crate))
    assert report.ok
    assert [check.name for check in report.checks if check.state == "unknown"] == ["chain"]
    command = [str(Path(sys.executable).parent / "workbench"), "verify", str(crate), "--state", str(crate)]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ)
    )
    assert ended.returncode == 0, ended.stderr
    file = crate / "events.jsonl"
    file.write_text(file.read_text().replace('"supported"', '"undecided"').replace("degC", "kelvin"))
    assert not verify(read_events(crate)).ok


def test_a_file_that_was_rewritten_or_lost_is_named_though_the_events_hold(crate, capsys):
    assert files(crate).state == "holds"
    changes = {
        "finding.json": ("0 of 3 observed", "3 of 3 observed"),
        "trials.csv": ("observed", "failed"),
        "hypothesis.json": ('"at_least": 0.9', '"at_least": 0.1'),
        "ro-crate-metadata.json": ("the lamp is out", "it was late"),
    }
    for name, (old, new) in changes.items():
        file = crate / name
        before = file.read_bytes()
        assert old in before.decode()
        for now in (before.replace(old.encode(), new.encode()), b"[" * 100_000, None):
            file.unlink() if now is None else file.write_bytes(now)
            found = files(crate)
            assert (found.state, [each for each in changes if each in found.says]) == ("fails", [name])
        file.write_bytes(before)
    (crate / "finding.json").write_bytes(b"{}")
    assert main(["verify", str(crate), "--state", str(crate)]) == 1
    assert re.findall(r"^fails +(\S+) ", capsys.readouterr().out, re.MULTILINE) == ["files"]


def test_a_crate_of_another_version_fails_only_where_that_cannot_be_the_reason(crate):
    metadata = crate / "ro-crate-metadata.json"
    version = '"name": "Genesis Workbench",\n   "softwareVersion": "'
    metadata.write_text(metadata.read_text().replace(version, version + "0.0."))
    assert "0.0." in metadata.read_text()
    assert files(crate).state == "holds"
    table, finding = crate / "trials.csv", crate / "finding.json"
    table.write_bytes(table.read_bytes().replace(b"observed", b"seen"))
    finding.write_text(json.dumps(json.loads(finding.read_text())))
    found = files(crate)
    assert found.state == "unknown"
    assert "finding.json, trials.csv. The crate says that version 0.0." in found.says
    finding.write_text(finding.read_text().replace("0 of 3 observed", "3 of 3 observed"))
    found = files(crate)
    assert (found.state, "finding.json" in found.says, "trials.csv" in found.says) == ("fails", True, False)
    finding.unlink()
    assert files(crate).state == "fails"


@pytest.mark.parametrize("learns", [False, True])
def test_a_fork_and_a_replay_name_what_they_come_from(ledger, experiments, bench, events, tmp_path, learns):
    earlier = fold(events)
    again = replayed(earlier) if not learns else forked(earlier, {"warm_start": [earlier.id]})
    experiment = experiments.create(ExperimentSpec.model_validate(again))
    crate = write_crate(list(ledger.all(stream=stream(experiment))), tmp_path / "crate")
    graph = json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]
    about = {each["@id"]: each for each in graph}
    assert len(about) == len(graph)
    [source] = about["./"]["prov:wasDerivedFrom"]
    told = about[source["@id"]]
    assert told["identifier"] == earlier.id
    assert f"is a {'fork' if learns else 'replay'}, as of its event {earlier.head}" in told["description"]
    assert ("the proposer knew the trials" in told["description"]) == learns
    assert told["name"] == (earlier.spec.title if learns else earlier.id)


def test_files_steps_uncertainties_and_everybody_who_had_a_part_go_with_it(ledger, tmp_path):
    blobs = BlobStore(tmp_path / "blobs")
    blobs.folder.mkdir()
    spectrum = blobs.put(b"wavelength,intensity")
    shop = {
        "oven": Machine({"temperature": "degC"}, {"mass": "g"}, lambda p: {"mass": p["temperature"] / 10}),
        "scale": Machine(
            {"sample": "kg"}, {"density": ""}, lambda p: {"density": p["sample"] * 100}, laboratory=True
        ),
        "sums": Machine(
            {"density": "", "speed": ""}, {"score": ""}, lambda p: {"score": p["density"] * p["speed"]}
        ),
    }
    shop["scale"].observe = lambda _key: Observation({"density": (1.5, "", 0.25)}, {"spectrum": spectrum})
    alice = store.LedgerExperiments(ledger, ALICE, executors=shop, blobs=blobs, service=True)
    erin = Person("Erin O'Neil <e@x>", groups=frozenset({"solar"}), scopes=frozenset({APPROVE}))
    hers = store.LedgerExperiments(ledger, erin, executors=shop, blobs=blobs, service=True)
    experiment = alice.create(described(budget=Budget(trials=2), parallel=2))
    loop.advance(ledger, experiment, None, shop)
    hers.approve(experiment, 1)
    hers.refuse(experiment, 2, "the scale is due for service")
    to_the_end(ledger, experiment, shop)
    assert alice.file(experiment, spectrum) == b"wavelength,intensity"
    other = blobs.put(b"of another experiment")
    with pytest.raises(NotFound, match="No trial of this experiment"):
        alice.file(experiment, other)
    with pytest.raises(NotFound, match="none that you may see"):
        store.LedgerExperiments(ledger, CAROL, executors=shop, blobs=blobs).file(experiment, spectrum)

    found = list(ledger.all(stream=stream(experiment)))
    crate = write_crate(found, tmp_path / "crate", attached=lambda digest: alice.file(experiment, digest))
    metadata = json.loads((crate / "ro-crate-metadata.json").read_text())
    about = {each["@id"]: each for each in metadata["@graph"]}
    assert len(about) == len(metadata["@graph"])
    names = [each["@id"] for each in about["./"]["hasPart"]]
    [place] = [name for name in names if name.startswith("files/")]
    assert (crate / place).read_bytes() == b"wavelength,intensity"
    assert about[place]["prov:wasGeneratedBy"] == [{"@id": "#trial-1"}]
    assert {"@id": place} in about["#trial-1-measure"]["result"]
    assert about["#trial-1-measure"]["prov:wasInformedBy"] == [{"@id": "#trial-1-make"}]
    assert about["#executor-measure"]["name"] == "scale (the laboratory)"
    assert about[about["#trial-1-gave-density"]["valueReference"]["@id"]]["value"] == 0.25
    approved = {about[each["@id"]]["name"] for each in about["#trial-1"]["agent"]}
    assert approved == {"alice", erin.name}
    assert about["#trial-2"]["actionStatus"]["@id"].endswith("FailedActionStatus")
    assert "due for service" in about["#trial-2"]["error"]
    for each in metadata["@graph"]:
        for name in re.findall(r'"@id": "([^"]+)"', json.dumps(each)):
            assert name in about or name.startswith("http"), f"{name} is named and not described"
    report = verify_crate(crate)
    states = {check.name: check.state for check in report.checks}
    assert (states["attachments"], states["files"]) == ("holds", "holds")
    (crate / place).write_bytes(b"forged")
    assert not verify(read_events(crate), blobs=files_of(crate)).ok
    shutil.rmtree(crate / "files")
    assert place in files(crate).says


def test_an_experiment_that_goes_on_is_exported_without_a_finding(ledger, experiments, bench, tmp_path):
    bench.slow = True
    experiment = experiments.create(specification())
    loop.advance(ledger, experiment, None, {"bench": bench})
    folder = write_crate(list(ledger.all(stream=stream(experiment))), tmp_path / "crate")
    assert not (folder / "finding.json").exists()
    assert "ActiveActionStatus" in (folder / "ro-crate-metadata.json").read_text()
    assert files(folder).state == "holds"
    (folder / "finding.json").write_text('{"decision": "supported"}')
    assert "finding.json" in files(folder).says


def test_a_folder_with_something_in_it_is_left_alone(events, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(Conflict, match="not empty"):
        write_crate(events, tmp_path)
    with pytest.raises(InvalidInput, match="no exported experiment"):
        read_events(tmp_path)
    for text in ("{", "[1]", '{"a": 1}', "[" * 100_000, '{"seq": NaN}'):
        (tmp_path / "events.jsonl").write_text(text)
        with pytest.raises(InvalidInput, match="Line 1"):
            read_events(tmp_path)


def test_nothing_measured_is_lost_on_the_way(ledger, experiments, bench, tmp_path):
    bench.observe = lambda _key: Observation({"y": (1.5, "degC", None)})
    title = "a line\u2028and another"  # which JSON leaves as it is, and some take for the end of a line
    experiment = experiments.create(specification(budget=Budget(trials=2), title=title))
    state = run(ledger, experiment, bench)
    folder = write_crate(list(ledger.all(stream=stream(experiment))), tmp_path / "crate")
    assert fold(read_events(folder)) == state
    assert json.loads((folder / "finding.json").read_text()) == state.finding
    assert json.loads((folder / "hypothesis.json").read_text())["digest"] == state.hypothesis_digest
