"""Make, anneal and measure a film of mixed halide perovskite: handler, furnace, spectrometer.

Parameters are the bromide fraction of the precursors, the plateau's temperature and its duration; the spectrum is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.experiments.executors._settings import read
from genesis_workbench.experiments.executors.instrument import InstrumentExecutor, quantity
from genesis_workbench.experiments.instruments.plan import Step
from genesis_workbench.experiments.record import Record

_VOLUME_UL = 100.0


class Measurement(Record):
    """How the film is measured."""

    integration_s: float = Field(1.0, gt=0, description="Seconds for which the spectrometer counts.")


class PerovskiteFilm(InstrumentExecutor):
    """Six steps; the furnace is emptied first, since a trial that failed may have left its sample there."""

    name: ClassVar[str] = "perovskite_film"
    settings: ClassVar[type[Record]] = Measurement
    parameters: ClassVar[Mapping[str, str]] = {
        "bromide": "",
        "anneal_temperature": "degC",
        "anneal_duration": "s",
    }
    outcomes: ClassVar[Mapping[str, str]] = {
        "peak_energy": "eV",
        "peak_intensity": "1/s",
        "linewidth": "eV",
        "plateau": "degC",
    }

    @classmethod
    def example(cls) -> Mapping[str, Any]:
        """Return the usual recipe. See :class:`InstrumentExecutor`."""
        return {"bromide": 0.5, "anneal_temperature": 100.0, "anneal_duration": 600.0}

    @classmethod
    def steps(cls, key: str, parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[Step]:
        """Return the steps. See :class:`InstrumentExecutor`."""
        measurement = read(Measurement, cls.name, arguments)
        share = float(parameters["bromide"])
        if not 0 <= share <= 1:
            raise InvalidInput(f"bromide is {share:g}; a share lies between 0 and 1.")
        sample = key[:20]
        return [
            Step(
                device="handler",
                action="mix",
                arguments={
                    "sample": sample,
                    "iodide": quantity(_VOLUME_UL * (1 - share), "uL"),
                    "bromide": quantity(_VOLUME_UL * share, "uL"),
                },
            ),
            Step(device="furnace", action="unload"),
            Step(device="furnace", action="load", arguments={"sample": sample}),
            Step(
                device="furnace",
                action="anneal",
                arguments={
                    "temperature": quantity(parameters["anneal_temperature"], "degC"),
                    "duration": quantity(parameters["anneal_duration"], "s"),
                },
            ),
            Step(device="furnace", action="unload"),
            Step(
                device="spectrometer",
                action="measure",
                arguments={
                    "sample": sample,
                    "integration": quantity(measurement.integration_s, "s"),
                },
            ),
        ]
