"""The curve is what counts, whatever was written twice or cut off."""

from __future__ import annotations

from genesis_workbench.training import metrics
from genesis_workbench.training.metrics import MetricsLog, read


def test_steps_that_a_kill_has_cost_are_not_in_the_curve(tmp_path):
    path = tmp_path / metrics.FILE
    log = MetricsLog(path)
    log.write(metrics.START, 0)
    for step in (10, 20, 30):
        log.write(metrics.STEP, step, loss=float(step))
    log.close()
    with path.open("ab") as file:
        file.write(b'{"kind": "step", "st')  # the kill
    assert [line["step"] for line in read(path)] == [0, 10, 20, 30]
    log = MetricsLog(path)
    log.write(metrics.START, 20)  # the checkpoint was of step 20
    log.write(metrics.STEP, 30, loss=3.0)
    log.close()
    curve = [(line["step"], line["loss"]) for line in read(path) if line["kind"] == metrics.STEP]
    assert curve == [(10, 10.0), (20, 20.0), (30, 3.0)]


def test_before_the_first_line_there_is_no_curve(tmp_path):
    assert read(tmp_path / metrics.FILE) == []
