"""Which detector tells best that an input lies outside what a model was trained on, on real tables of scikit-learn.

Three kinds of "outside", each with held-out rows as "inside": a class that training never saw, the rows at one end of the
first principal component, and rows whose columns were shuffled (each value is ordinary, their combination is not). Every
detector is fitted on the training rows alone, by the code of this file; ``ours`` is what the zoo fits at registration.
Last it prints one JSON line: the ratio is our mean area under the ROC curve to the best other detector's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import numpy as np

from genesis_workbench.models.domain import Domain

SEEDS = range(5)
KEPT = 512
QUANTILE = 0.99
NEIGHBOURS = 5
LIMITS = {"ranges": 1e-12, "convex hull": 0.5, "ours": 1.0}


def ranges(train: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Distance beyond the range of each column, in its standard deviations; the largest of them."""
    spread = np.where(train.std(axis=0) > 0, train.std(axis=0), 1)
    beyond = np.maximum(train.min(axis=0) - rows, rows - train.max(axis=0)) / spread
    return np.maximum(beyond, 0).max(axis=1)


def mahalanobis(train: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Distance from the mean in units of the covariance, shrunk a tenth towards its diagonal."""
    centre, covariance = train.mean(axis=0), np.cov(train.T)
    covariance = 0.9 * covariance + 0.1 * np.diag(np.diag(covariance)) + 1e-9 * np.eye(len(covariance))
    inverse = np.linalg.inv(covariance)
    away = rows - centre
    return np.sqrt(np.einsum("ij,jk,ik->i", away, inverse, away))


def neighbours(train: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Mean distance to the nearest training rows, columns standardised; a row is no neighbour of itself."""
    from scipy.spatial import cKDTree

    centre, spread = train.mean(axis=0), np.where(train.std(axis=0) > 0, train.std(axis=0), 1)
    kept = train[np.random.default_rng(0).permutation(len(train))[:KEPT]]
    distance, _ = cKDTree((kept - centre) / spread).query((rows - centre) / spread, k=NEIGHBOURS + 1)
    own = distance[:, 0] < 1e-12
    return np.where(own, distance[:, 1:].mean(axis=1), distance[:, :-1].mean(axis=1))


def hull(train: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """1 outside the convex hull of the training rows, 0 inside; one linear programme for each row."""
    from scipy.optimize import linprog

    kept = train[np.random.default_rng(0).permutation(len(train))[:KEPT]]
    system = np.vstack([kept.T, np.ones(len(kept))])
    cost = np.zeros(len(kept))
    answers = [linprog(cost, A_eq=system, b_eq=[*row, 1.0], method="highs").status for row in rows]
    return np.array([float(status == 2) for status in answers])


def ours(train: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """What the zoo fits, as a share of its limit."""
    domain = Domain.fit({"x": train})
    return domain.distance({"x": rows}) / domain.limit


DETECTORS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "ranges": ranges, "mahalanobis": mahalanobis, "kNN": neighbours, "convex hull": hull, "ours": ours,
}  # fmt: skip


def tables() -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Return rows and classes of real tables."""
    from sklearn import datasets

    loaded = {
        name: getattr(datasets, f"load_{name}")()
        for name in ("iris", "wine", "breast_cancer", "diabetes", "digits")
    }
    return {
        name: (table.data.astype(float), None if name == "diabetes" else table.target)
        for name, table in loaded.items()
    }


def splits(rows: np.ndarray, classes: np.ndarray | None, seed: int):
    """Yield kind, training rows, inside rows and outside rows."""
    from sklearn.decomposition import PCA

    random = np.random.default_rng(seed)
    if classes is not None:
        unseen = classes == seed % (classes.max() + 1)
        yield "unseen class", *_halves(rows[~unseen], random), rows[unseen]
    spread = np.where(rows.std(axis=0) > 0, rows.std(axis=0), 1)
    score = PCA(1).fit_transform((rows - rows.mean(axis=0)) / spread)[:, 0] * (1 if seed % 2 else -1)
    far = score > np.quantile(score, 0.8)
    yield "one end", *_halves(rows[~far], random), rows[far]
    train, inside = _halves(rows, random)
    yield "shuffled", train, inside, np.column_stack([random.permutation(column) for column in inside.T])


def _halves(rows: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    order = random.permutation(len(rows))
    cut = len(rows) * 7 // 10
    return rows[order[:cut]], rows[order[cut:]]


def main() -> None:
    """Measure and print."""
    from sklearn.metrics import roc_auc_score

    areas: dict[str, dict[str, list[float]]] = {name: {} for name in DETECTORS}
    flagged: dict[str, list[tuple[float, float]]] = {name: [] for name in DETECTORS}
    for table, (rows, classes) in tables().items():
        for seed in SEEDS:
            for kind, train, inside, outside in splits(rows, classes, seed):
                some = slice(0, 40) if "--quick" in sys.argv else slice(0, 150)
                for name, detect in DETECTORS.items():
                    if name == "convex hull" and seed > 1:
                        continue  # minutes
                    both = detect(train, np.vstack([inside[some], outside[some]]))
                    truth = np.r_[np.zeros(len(inside[some])), np.ones(len(outside[some]))]
                    limit = (
                        0.0
                        if name in ("ranges", "convex hull")
                        else np.quantile(detect(train, train), QUANTILE)
                    )
                    areas[name].setdefault(kind, []).append(roc_auc_score(truth, both))
                    areas[name].setdefault(table, []).append(areas[name][kind][-1])
                    said = both > limit
                    flagged[name].append((said[truth == 0].mean(), said[truth == 1].mean()))
    kinds = ("unseen class", "one end", "shuffled")
    keys = [*kinds, *tables()]
    print(f"{'area under ROC':14}" + "".join(f"{key:>15}" for key in [*keys, "false alarms", "found"]))
    means, alarms = {}, {}
    for name, found in areas.items():
        means[name] = round(float(np.mean([np.mean(found[kind]) for kind in kinds])), 4)
        alarms[name] = np.mean(flagged[name], axis=0).round(4).tolist()
        values = [float(np.mean(found[key])) for key in keys]
        print(f"{name:14}" + "".join(f"{value:15.3f}" for value in [*values, *alarms[name]]))
    best = max(value for name, value in means.items() if name != "ours")
    figures = {"area": means, "false_alarms_and_found": alarms}
    print(
        json.dumps(
            {"benchmark": "domain", "ratio": round(means["ours"] / best, 4), "goal": 0.97, "figures": figures}
        )
    )


if __name__ == "__main__":
    main()
