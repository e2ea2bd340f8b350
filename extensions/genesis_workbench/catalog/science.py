"""Fields of science, from the words of a record, where its source does not say."""

from __future__ import annotations

import re
from collections import Counter

from genesis_workbench.catalog.dataset import Dataset

_WORD = re.compile(r"[^\W\d_]{3,}")
_LEAST = 2
_MOST = 2
_WORDS = {
    "astronomy and space": "astronomy astrophysics galaxy stellar star telescope planet planetary comet asteroid mars "
    "moon lunar spacecraft heliosphere cosmic orbit rosetta solar-wind photometry exoplanet",
    "earth and environment": "climate ocean sea atmosphere atmospheric precipitation rainfall aerosol ice glacier snow "
    "land soil geology seismic earthquake vegetation forest hydrology groundwater river lake landsat modis satellite "
    "temperature weather elevation topography coastal wetland emissions turbidity marine geophysical",
    "biology": "gene genome genomic protein species biology biodiversity microbial cell plant animal ecology ecosystem "
    "bacteria enzyme dna rna sequencing fish wildlife",
    "medicine and health": "health medical medicare medicaid patient clinical disease cancer hospital drug vaccine "
    "mortality epidemiology nursing",
    "energy": "energy solar photovoltaic wind turbine electricity grid battery fuel geothermal biomass irradiance "
    "power oil gas coal hydropower building",
    "nuclear and particle physics": "neutron neutrino collider quark nuclear isotope reactor radiation proton boson "
    "particle detector hadron",
    "fusion and plasma": "tokamak plasma fusion stellarator magnetohydrodynamic divertor",
    "materials and chemistry": "material alloy crystal catalyst catalysis polymer chemistry chemical molecule molecular "
    "spectroscopy diffraction semiconductor nanoparticle perovskite metal oxide synthesis",
    "physics": "physics quantum laser optics superconducting superconductor magnetic thermodynamic qubit photon",
    "engineering": "engineering sensor vehicle aircraft aviation manufacturing structural robot additive materials-testing "
    "propulsion",
    "computing and mathematics": "software algorithm computing benchmark machine-learning neural network simulation "
    "cybersecurity cryptography biometric fingerprint",
    "society and economy": "employment labor wage income census population education budget spending contract consumer "
    "mortgage loan inspection injury union complaint broadcast telecommunication workforce retirement",
}
_FIELD_OF = {
    form: name for name, words in _WORDS.items() for word in words.split() for form in (word, f"{word}s")
}
_KNOWN = _FIELD_OF.keys()
FIELDS = tuple(_WORDS)


def fields_of(dataset: Dataset) -> list[str]:
    """Return up to two fields of science of a record: what its source says, or those that its words are of.

    Title and keywords count twice, the beginning of the description once; a field needs two such points.
    """
    if dataset.fields:
        return [name.lower() for name in dataset.fields]
    points: Counter[str] = Counter()
    for text, weight in (
        (f"{dataset.title} {' '.join(dataset.keywords)}", 2),
        (dataset.description[:400], 1),
    ):
        for word in set(_WORD.findall(text.lower())) & _KNOWN:
            points[_FIELD_OF[word]] += weight
    found = [(count, name) for name, count in points.items() if count >= _LEAST]
    most = max((count for count, _ in found), default=0)
    return [name for count, name in sorted(found, key=lambda f: (-f[0], f[1]))[:_MOST] if count * 2 > most]
