"""Every benign artifact of the corpus is taken, every hostile one is refused, and nothing of any of them runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genesis_workbench.core.errors import GenesisError, TooLarge, VerificationFailed
from genesis_workbench.models import quarantine
from genesis_workbench.models.selftest import examine, format_of
from unit.models import corpus

CANARY = Path("/tmp") / f"canary-of-{Path(__file__).stem}"  # noqa: S108 - never written
BENIGN = corpus.benign()
HOSTILE = corpus.hostile(CANARY)


def test_the_corpus_is_as_large_as_it_claims():
    assert len({case.name for case in HOSTILE}) == len(HOSTILE) >= 60
    assert len({case.name for case in BENIGN}) == len(BENIGN) >= 30
    for cases in (HOSTILE, BENIGN):
        assert {case.format for case in cases} == {"onnx", "safetensors", "skops", "table", "formula"}


@pytest.mark.parametrize("case", BENIGN, ids=lambda case: case.name)
def test_a_benign_artifact_is_taken_and_gives_the_numbers_of_what_it_was_made_from(case):
    version = case.version()
    session = examine(version, case.data, format_of(case.format))
    inputs = {name: np.asarray(values, dtype=case.dtype) for name, values in case.inputs.items()}
    for name, answer in session.run(inputs).items():
        np.testing.assert_allclose(answer, case.outputs[name], rtol=case.rtol, atol=1e-5)


@pytest.mark.parametrize(
    "kind", ["onnx-plain", "safetensors-tanh", "skops-forest", "table-two-inputs", "formula-sum"]
)
def test_a_benign_artifact_passes_the_quarantine(kind):
    (case,) = (case for case in BENIGN if case.name == kind)
    quarantine.examine(case.version(), case.data)


@pytest.mark.parametrize(
    "case", [case for case in HOSTILE if not case.quarantined], ids=lambda case: case.name
)
def test_a_hostile_artifact_is_refused_with_the_reason_and_nothing_runs(case):
    with pytest.raises((VerificationFailed, TooLarge)) as refused:
        examine(case.version(), case.data, format_of(case.format))
    assert len(str(refused.value)) > 20
    assert not CANARY.exists()


@pytest.mark.parametrize(
    "case",
    [case for case in HOSTILE if case.quarantined or case.name in ("pickle-as-skops", "skops-function")],
    ids=lambda case: case.name,
)
def test_a_hostile_artifact_is_refused_in_the_quarantine(case):
    with pytest.raises((VerificationFailed, TooLarge)):
        quarantine.examine(case.version(), case.data, deadline_s=60, memory_bytes=2**30)
    assert not CANARY.exists()


def test_every_cut_and_every_flipped_bit_is_refused_or_harmless():
    rng = np.random.default_rng(0)
    for case in (
        case
        for case in BENIGN
        if case.name in ("safetensors-tanh", "skops-ridge", "formula-sum", "table-two-inputs")
    ):
        model_format = format_of(case.format)
        cuts = (
            [] if case.format == "table" else rng.integers(0, len(case.data), 60)
        )  # of a number, a shorter one is left
        for length in cuts:
            with pytest.raises(GenesisError):
                examine(case.version(), case.data[:length], model_format)
        for place in rng.integers(0, len(case.data), 200):
            broken = bytearray(case.data)
            broken[place] ^= 1 << int(rng.integers(8))
            try:
                examine(case.version(), bytes(broken), model_format)
            except GenesisError:
                continue
