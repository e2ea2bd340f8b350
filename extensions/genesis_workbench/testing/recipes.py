"""What every recipe must do."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from genesis_workbench.core.ledger import Ledger
from genesis_workbench.core.storage import BlobStore
from genesis_workbench.models.model import Model
from genesis_workbench.models.zoo import LocalZoo
from genesis_workbench.training.recipe import find, load_code, read_code


@dataclass
class Example:
    """A recipe with something small to train.

    Attributes
    ----------
    name : str
        As it is installed.
    datasets : tuple of str
        Identifiers of the catalog.
    configuration : dict
        So small that an epoch takes a second, with at least four steps an epoch and two epochs.
    wrong : dict
        What it must refuse.
    """

    name: str
    datasets: tuple[str, ...] = ()
    configuration: dict[str, Any] = field(default_factory=dict)
    wrong: dict[str, Any] = field(default_factory=lambda: {"epochs": 0})


class AfterSteps:
    """Asks for the end after a number of steps, as SIGTERM would."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    @property
    def wish(self) -> int:
        from genesis_workbench.training.loop import END, GO_ON

        self.left -= 1
        return END if self.left <= 0 else GO_ON

    @wish.setter
    def wish(self, value: int) -> None:
        """Whoever looks sets it back, which changes nothing here."""


class RecipeContract:
    """Subclass it, and set `example` and `opened` (what ``gw.open`` gives for its datasets) before each test."""

    example: Example
    opened: list[Any]

    def train(self, folder: Path, *, steps: int = 10**9) -> tuple[Any, Any, Any, Any]:
        """Train in this process for at most `steps` steps; return recipe, configuration, data and outcome."""
        import torch

        from genesis_workbench.training.checkpoint import Checkpoints
        from genesis_workbench.training.loop import Training
        from genesis_workbench.training.workers import Workers

        recipe = find(self.example.name)[0]()
        config = recipe.Config.model_validate(self.example.configuration)
        data = recipe.data(config, self.opened, folder)
        torch.manual_seed(config.seed)
        model = recipe.model(config, data, None)
        checkpoints = Checkpoints(folder / "checkpoints")
        checkpoints.claim()
        here = Workers(0, 1, torch.device("cpu"))
        training = Training(recipe, config, data, here, checkpoints, None, AfterSteps(steps))
        try:
            return recipe, config, data, training.run(model)
        finally:
            checkpoints.close()

    def test_its_configuration_is_typed_and_is_json(self) -> None:
        recipe = find(self.example.name)[0]
        config = recipe.Config.model_validate(self.example.configuration)
        assert recipe.Config.model_validate_json(config.model_dump_json()) == config
        assert all(each.description for each in recipe.Config.model_fields.values()), (
            "each field says what it is"
        )
        for wrong in (self.example.wrong, {"no_such_field": 1}):
            with pytest.raises(ValueError, match=next(iter(wrong))):
                recipe.Config.model_validate(wrong)

    def test_its_folder_is_all_of_its_code(self, tmp_path: Path) -> None:
        found, code = find(self.example.name)
        assert code.name == found.name == self.example.name
        copy = shutil.copytree(code.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
        assert load_code(copy, code.files).title == found.title
        assert read_code(code.name, copy).digest == code.digest

    def test_its_data_are_the_same_each_time_and_disjoint_in_use(self, tmp_path: Path) -> None:
        import numpy as np

        recipe = find(self.example.name)[0]()
        config = recipe.Config.model_validate(self.example.configuration)
        one = recipe.data(config, self.opened, tmp_path / "one")
        two = recipe.data(config, self.opened, tmp_path / "two")
        for part in ("train", "validation", "test"):
            assert getattr(one, part).counts == getattr(two, part).counts
            for shard, count in enumerate(getattr(one, part).counts):
                first, second = getattr(one, part).read(shard), getattr(two, part).read(shard)
                assert {len(column) for column in first.values()} == {count}
                for name in first:
                    np.testing.assert_array_equal(first[name], second[name])
        assert one.facts == two.facts

    def test_each_sample_has_a_loss_and_each_weight_a_gradient(self, tmp_path: Path) -> None:
        import torch

        from genesis_workbench.training.feeding import everything

        recipe = find(self.example.name)[0]()
        config = recipe.Config.model_validate(self.example.configuration)
        data = recipe.data(config, self.opened, tmp_path)
        model = recipe.model(config, data, None)
        batch = next(everything(data.train, config.batch_size))
        losses = recipe.losses(model, batch)
        assert losses.shape == (len(next(iter(batch.values()))),)
        assert bool(torch.isfinite(losses).all())
        losses.sum().backward()
        without = [name for name, weight in model.named_parameters() if weight.grad is None]
        assert not without, f"{', '.join(without)} are never trained"

    def test_it_learns_and_the_zoo_takes_what_it_leaves(self, tmp_path: Path) -> None:
        import torch

        recipe, config, data, outcome = self.train(tmp_path)
        model = recipe.model(config, data, None)
        before = self._validation(recipe, model, data, config)
        model.load_state_dict(outcome.best)
        assert outcome.progress.best < before, "training does not lower the validation loss"
        with torch.no_grad():
            product = recipe.product(model.eval(), config, data)
        zoo = LocalZoo(Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}"), BlobStore(tmp_path / "blobs"))
        version = zoo.register(
            self.example.name, product.format, product.artifact, product.signature, product.card, product.self_test,
            actor="ann",
        )  # fmt: skip
        assert Model(version, product.artifact).signature == product.signature
        assert product.card.metrics, "a card says how well it did"
        if data.simulator:
            assert data.simulator in product.card.trained_on, "what was computed is not called measured"

    def test_it_goes_on_bit_for_bit(self, tmp_path: Path) -> None:
        import torch

        whole = self.train(tmp_path / "whole")[-1]
        for steps in (3, 2, 10**9):
            parted = self.train(tmp_path / "parted", steps=steps)[-1]
        assert parted.progress.step == whole.progress.step
        for name, weight in whole.best.items():
            assert torch.equal(weight, parted.best[name]), f"{name} differs after a resumption"

    @staticmethod
    def _validation(recipe: Any, model: Any, data: Any, config: Any) -> float:
        import torch

        from genesis_workbench.training.feeding import everything

        with torch.no_grad():
            losses: list[Mapping[str, Any]] = [
                recipe.losses(model, batch) for batch in everything(data.validation, config.batch_size)
            ]
        return float(torch.cat(losses).mean())
