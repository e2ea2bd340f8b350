"""How a run ends: finished, without getting better, or with its budget spent; each with a checkpoint, and told."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from genesis_workbench.core.errors import Conflict  # noqa: E402
from genesis_workbench.training import metrics  # noqa: E402
from genesis_workbench.training.checkpoint import Checkpoints  # noqa: E402
from genesis_workbench.training.loop import BUDGET, EARLY, FINISHED, GO_ON, Training  # noqa: E402
from genesis_workbench.training.metrics import MetricsLog  # noqa: E402
from genesis_workbench.training.recipe import load_code  # noqa: E402
from genesis_workbench.training.workers import Workers  # noqa: E402

TINY = Path(__file__).parents[2] / "system" / "training" / "tiny"


class Undisturbed:
    wish = GO_ON


def train(folder, nodes=1, **told):
    recipe = load_code(TINY)()
    config = recipe.Config.model_validate({"batch_size": 64, "log_steps": 1, **told})
    data = recipe.data(config, [], folder)
    torch.manual_seed(config.seed)
    checkpoints, log = Checkpoints(folder / "checkpoints"), MetricsLog(folder / metrics.FILE)
    checkpoints.claim()
    here = Workers(0, 1, torch.device("cpu"))
    try:
        training = Training(recipe, config, data, here, checkpoints, log, Undisturbed(), nodes)
        return training.run(recipe.model(config, data, None))
    finally:
        checkpoints.close()
        log.close()


def test_a_spent_budget_ends_it_with_a_checkpoint_and_more_lets_it_go_on(tmp_path):
    ended = train(tmp_path, nodes=1000, epochs=10_000, budget_node_hours=0.01)
    assert ended.ended == BUDGET
    assert ended.progress.node_hours >= 0.01
    kept = Checkpoints(tmp_path / "checkpoints").last()
    assert kept.step == ended.progress.step
    assert metrics.read(tmp_path / metrics.FILE)[-1]["ended"] == BUDGET
    more = train(tmp_path, nodes=1000, epochs=10_000, budget_node_hours=0.02)
    assert more.progress.step > kept.step
    assert more.progress.node_hours >= 0.02, "what was used before counts"


def test_what_gets_no_better_ends_with_its_best_weights_also_when_it_is_looked_at_again(tmp_path):
    ended = train(tmp_path, epochs=500, patience=3, learning_rate=0.05)
    assert ended.ended == EARLY
    losses = [
        line["loss"] for line in metrics.read(tmp_path / metrics.FILE) if line["kind"] == metrics.VALIDATION
    ]
    assert len(losses) < 500
    assert ended.progress.best == min(losses) == losses[-4]
    again = train(tmp_path, epochs=500, patience=3, learning_rate=0.05)
    assert (again.ended, again.progress.step) == (EARLY, ended.progress.step)
    assert all(torch.equal(weight, again.best[name]) for name, weight in ended.best.items())


def test_a_checkpoint_of_another_run_is_not_gone_on_from(tmp_path):
    assert train(tmp_path, epochs=1).ended == FINISHED
    with pytest.raises(Conflict, match="it has the seed 0"):
        train(tmp_path, epochs=2, seed=1)


def test_the_last_checkpoint_is_the_same_however_often_one_was_saved(tmp_path):
    kept = []
    for name, steps in (("seldom", 0), ("each step", 1)):
        (tmp_path / name).mkdir()
        train(tmp_path / name, epochs=3, checkpoint_steps=steps)
        kept.append(Checkpoints(tmp_path / name / "checkpoints").last())
    for part in ("model", "best"):
        first, second = (each.state[part] for each in kept)
        assert all(torch.equal(weight, second[name]) for name, weight in first.items()), part
    for progress in (each.progress for each in kept):
        assert (progress["epoch"], progress["position"]) == (3, 0), "the last validation is in it"
