"""From the documents of a scan to the centre of the line that it crossed."""

from __future__ import annotations

import json

import numpy as np

from genesis_workbench.experiments.instruments._base import Done, Failed


def line_centre(documents: bytes) -> Done | Failed:
    """Return the centroid of the counts above the half of the highest, with its standard error.

    Parameters
    ----------
    documents : bytes
        Bluesky documents, one ``[kind, document]`` a line; they are kept as a file of the outcome.
    """
    points = [
        document["data"]
        for kind, document in (json.loads(line) for line in documents.splitlines() if line.endswith(b"]"))
        if kind == "event"
    ]
    at = np.array([point["stage-readback"] for point in points])
    counts = np.array([point["stage-counts"] for point in points])
    above = counts > counts.min() + (counts.max() - counts.min()) / 2 if len(counts) else np.zeros(0, bool)
    weight = counts[above] - counts.min() if len(counts) else counts
    if not weight.sum() > 0:
        return Failed("The counts are the same everywhere: there is no line in this range.")
    centre = float((at[above] * weight).sum() / weight.sum())
    spread = float(np.sqrt(((at[above] - centre) ** 2 * weight).sum() / weight.sum() / weight.sum()))
    return Done(
        {"centre": centre, "highest": float(counts.max())}, {"centre": spread}, {"documents.jsonl": documents}
    )
