"""One artifact of the corpus."""

from __future__ import annotations

from dataclasses import dataclass, field

from genesis_workbench.core.identifiers import digest
from genesis_workbench.models.record import ModelCard, ModelVersion, SelfTest
from genesis_workbench.models.signature import Signature, TensorSpec


@dataclass(frozen=True)
class Case:
    """One artifact with what its record would claim; `quarantined` where only limits can stop it."""

    name: str
    format: str
    data: bytes
    inputs: dict = field(default_factory=lambda: {"a": [1.0, 2.0], "b": [0.5, 1.0]})
    outputs: dict = field(default_factory=lambda: {"y": [2.5, 5.0]})
    dtype: str = "float32"
    quarantined: bool = False
    rtol: float = 1e-4

    def version(self):
        """Return the record that goes with it."""

        def specs(names):
            return tuple(TensorSpec(name=name, dtype=self.dtype) for name in names)

        return ModelVersion(
            name="case",
            version=1,
            format=self.format,
            artifact=digest(self.data),
            size_bytes=len(self.data),
            signature=Signature(inputs=specs(self.inputs), outputs=specs(self.outputs)),
            card=ModelCard(title="Case", what_for="Tests", trained_on="-", limits="-", licence="CC0-1.0"),
            self_test=SelfTest(inputs=self.inputs, outputs=self.outputs, rtol=self.rtol),
        )
