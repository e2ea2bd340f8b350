"""A model that was verified, ready to predict: on numbers, on arrays, and block by block on dask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genesis_workbench.core.access import Label, strictest
from genesis_workbench.core.errors import NotFound
from genesis_workbench.models.record import ModelCard, ModelVersion
from genesis_workbench.models.signature import Signature, TensorSpec
from genesis_workbench.models.verification import loaded, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from genesis_workbench.models.ancestry import Lineage


class Model:
    """One version of a model, verified.

    Parameters
    ----------
    version : ModelVersion
        Its record.
    artifact : bytes
        Its artifact; compared with the record, and its self-test run, before anything else.
    find : callable, optional
        Gives the record of another model, for the lineage.

    Raises
    ------
    VerificationFailed
        If the artifact is not what the record says.
    """

    def __init__(
        self,
        version: ModelVersion,
        artifact: bytes,
        *,
        find: Callable[[str], ModelVersion] | None = None,
    ) -> None:
        verify(version, artifact)
        self.version = version
        self._artifact = artifact
        self._find = find

    @property
    def card(self) -> ModelCard:
        """What a person must know before they use it."""
        return self.version.card

    @property
    def signature(self) -> Signature:
        """What it takes and gives."""
        return self.version.signature

    def cite(self) -> str:
        """Return how to cite it."""
        return self.version.cite()

    def lineage(self) -> Lineage:
        """Return from what it came: datasets, training job, code by its hash, and its parents; a drawing in a notebook."""
        from genesis_workbench.models.ancestry import trace

        return trace(self.version, self._find)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the artifact itself on arrays of exactly the shape and type of the signature: no units, no domain."""
        return loaded(self.version, self._artifact).run(inputs)

    def outside(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return for each sample whether it is unlike the training inputs: for models that are used by :meth:`run`.

        Raises
        ------
        NotFound
            If no domain was fitted when it was registered.
        """
        if self.version.domain is None:
            raise NotFound(f"No domain was fitted to the training inputs of {self.version.reference}.")
        return self.version.domain.outside(inputs)

    def predict(
        self,
        dataset: Any = None,
        *,
        flag: bool = False,
        interval: float | None = None,
        **inputs: Any,
    ) -> Any:
        """Predict for every combination of the inputs, which are broadcast by the names of their dimensions.

        Parameters
        ----------
        dataset : xarray.Dataset, mapping, pandas.DataFrame or dask.dataframe.DataFrame, optional
            Has variables, values or columns with the names of inputs. Units of columns are in ``attrs["units"]``, by column;
            beside a table, further inputs are single numbers.
        flag : bool
            Return a Dataset with a boolean ``outside_domain`` beside the output: true where an input is outside the
            range that the model was made for, or the inputs together are unlike those that it was trained on.
        interval : float, optional
            Return a Dataset with ``<output>_lower`` and ``<output>_upper`` beside each output: between them lies the true
            value with at least this probability, for inputs like those that it was trained on.
        **inputs : number, array, xarray.DataArray or dask array
            Each by its name; goes before what `dataset` has. An array whose ``attrs["units"]`` differ from the
            signature's is converted; without that attribute it must be in the signature's unit. Several plain arrays
            are broadcast as numpy does.

        Returns
        -------
        xarray.DataArray, xarray.Dataset or DataFrame
            Named as the output (a Dataset where there are several); for a table a DataFrame with its index and divisions,
            and a column for each output. Lazy where any input is on dask, one task for each block. Where an input is not finite it is NaN. Its attributes have unit, model, digest of the artifact
            and the strictest access label of the model and its inputs. Integer outputs are given as float64.

        Raises
        ------
        InvalidInput
            If an input is missing, unknown, no number, or in a unit of another kind; if the model has no intervals.
        """
        from genesis_workbench.models import prediction, tables

        told: dict[str, Any] = {"flag": flag, "interval": interval}
        if tables.is_table(dataset):
            head = tables.head(self.version, dataset, inputs)
            values, labels, sources = prediction.gather(self.signature, head, inputs)
            constants = {name: values[name].to_numpy() for name in inputs}
            attributes = self._attributes(labels, sources)
            return tables.predict(self.version, self._artifact, dataset, constants, attributes, **told)
        values, labels, sources = prediction.gather(self.signature, dataset, inputs)
        attributes = self._attributes(labels, sources)
        return prediction.predict(self.version, self._artifact, values, attributes, **told)

    __call__ = predict

    def _attributes(self, labels: list[Label], sources: list[str]) -> dict[str, str]:
        """Return what every answer says of itself."""
        label = strictest([Label.parse(self.card.label), *labels])
        return {
            "genesis_model": self.version.reference,
            "genesis_model_digest": self.version.artifact,
            "label": str(label),
            **({"surrogate_of": self.card.surrogate_of} if self.card.surrogate_of else {}),
            **({"genesis_datasets": ", ".join(sources)} if sources else {}),
        }

    def __repr__(self) -> str:
        takes = ", ".join(_argument(spec) for spec in self.signature.inputs)
        gives = ", ".join(f"{spec.name} [{spec.unit}]" for spec in self.signature.outputs)
        return f"<Model {self.version.reference}: predict({takes}) -> {gives}>"

    def _repr_html_(self) -> str:
        import html

        takes = ", ".join(f"{spec.name}=..." for spec in self.signature.inputs)
        return (
            self.version._repr_html_()
            + f"<div>Verified on this machine. Use: <code>model.predict({html.escape(takes)})</code></div>"
        )


def _argument(spec: TensorSpec) -> str:
    inside = spec.domain or spec.unit
    return f"{spec.name} [{inside}]" if inside else spec.name
