"""What speeds a run up on an accelerator, what of it a processor uses, and the arithmetic of model FLOP utilisation."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from genesis_workbench.training.configuration import Configuration  # noqa: E402
from genesis_workbench.training.loop import how  # noqa: E402
from genesis_workbench.training.recipe import find  # noqa: E402
from genesis_workbench.training.utilisation import PEAK_BFLOAT16, transformer_flops, utilisation  # noqa: E402


def test_a_share_of_the_peak_is_work_by_time():
    # 1e12 operations a sample, 98.9 samples a second, on one H200 and on two.
    assert utilisation(1e12, 98.9, "NVIDIA H200") == pytest.approx(0.1)
    assert utilisation(1e12, 98.9, "NVIDIA H200", count=2) == pytest.approx(0.05)
    assert utilisation(1e12, 98.9, "NVIDIA H100 PCIe") == pytest.approx(
        98.9e12 / PEAK_BFLOAT16["NVIDIA H100 PCIe"]
    )
    assert utilisation(1e12, 98.9, "cpu") is None
    # GPT-3 (PaLM, appendix B): 6 N a token is almost all of it.
    assert transformer_flops(175_000_000_000, 96, 12288, 2048) == pytest.approx(2048 * 6 * 175e9, rel=0.03)


def test_the_formula_counts_what_torch_counts():
    kind = find("series")[0]
    recipe = kind()
    config = kind.Config(width=64, blocks=2, length=48)
    model = recipe.model(config, None, None)
    x, known = torch.randn(3, 48), torch.ones(3, 48)
    with (
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        FlopCounterMode(display=False) as counted,
    ):
        model(x, known).sum().backward()
    assert recipe.flops(model) == pytest.approx(counted.get_total_flops() / 3, rel=0.01)


def test_a_processor_uses_only_what_it_is_asked_to():
    here = torch.device("cpu")
    auto = how(Configuration(), here)
    assert auto == {
        "device": "cpu", "precision": "float32", "compiled": False, "fused": False, "recomputed": False,
    }  # fmt: skip
    asked = how(
        Configuration(precision="bfloat16", compiled="on", fused="on", recompute_activations=True), here
    )
    assert asked == {
        "device": "cpu",
        "precision": "bfloat16",
        "compiled": True,
        "fused": True,
        "recomputed": True,
    }


def test_activations_computed_again_give_the_same_gradients():
    kind = find("series")[0]
    gradients = []
    for again in (False, True):
        torch.manual_seed(0)
        model = kind().model(
            kind.Config(width=16, blocks=2, length=12, recompute_activations=again), None, None
        )
        x = torch.linspace(-1, 1, 24).view(2, 12)
        model(x, torch.ones_like(x)).square().sum().backward()
        gradients.append([each.grad for each in model.parameters() if each.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
