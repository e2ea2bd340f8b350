"""Many NetCDF files as one cube, against xarray.open_mfdataset in the same run on the same files.

2,000 files of 3 variables on 73 x 144 cells, made in a temporary folder. Goals: a later opening 90 times faster than the
peer's (nested, override: its fastest way), the first one no slower, a mean over time 3 times faster. The peer reads with
netCDF4 where that is installed, which is faster than h5netcdf. Each figure is the median of three, but for the first
opening.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from genesis_workbench.catalog.content import Places
from genesis_workbench.catalog.dataset import Dataset, Distribution
from genesis_workbench.catalog.opening import open_dataset

ENGINE = "netcdf4" if importlib.util.find_spec("netCDF4") else "h5netcdf"
GOALS = {"open_again": 90.0, "open_first": 1.0, "time_mean": 3.0}


def main() -> None:
    """Measure, and print one JSON line for each goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    count = parser.parse_args().files
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        make(data, count)
        time.sleep(2.5)  # younger files are left alone
        measure(data, Path(folder), count)


def make(data: Path, count: int) -> None:
    """Write one file for each day, compressed as agencies do."""
    data.mkdir()
    random = np.random.default_rng(1)
    latitude, longitude = np.linspace(-90, 90, 73), np.arange(0, 360, 2.5)
    for number in range(count):
        values = random.standard_normal((3, 1, 73, 144), dtype="float32")
        day = xr.Dataset(
            {name: (("time", "lat", "lon"), values[n], {"units": "K"}) for n, name in enumerate("abc")},
            {
                "time": ("time", [number], {"units": "days since 2000-01-01"}),
                "lat": latitude,
                "lon": longitude,
            },
        )
        packed = {name: {"zlib": True, "shuffle": True, "complevel": 1} for name in "abc"}
        day.to_netcdf(data / f"day-{number:05}.nc", engine=ENGINE, encoding=packed, unlimited_dims=["time"])


def measure(data: Path, folder: Path, count: int) -> None:
    """Time both sides in turn."""
    places = Places(data_folders=(str(data),), cache=str(folder / "copies"), cubes=str(folder / "cubes"))
    record = Dataset(
        id="benchmark",
        title="Benchmark",
        source="benchmark",
        distributions=[Distribution(format="netcdf", url=data.as_uri() + "/day-*.nc")],
    )
    one = record.model_copy(
        update={"distributions": [Distribution(format="netcdf", url=data.as_uri() + "/day-0000[0-1].nc")]}
    )
    files = sorted(data.glob("day-*.nc"))
    # Both sides have imported what they need before anything is timed.
    peer(files[:2])["a"].mean("time").compute()
    open_dataset(one, places=places)["a"].mean("time").compute()

    first, cube = timed(lambda: open_dataset(record, places=places))
    again, theirs = [], []
    for _ in range(3):
        theirs.append(timed(lambda: peer(files)))
        again.append(timed(lambda: open_dataset(record, places=places)))
    their_cube = theirs[-1][1]
    means, their_means = [], []
    for _ in range(3):
        means.append(timed(lambda: cube["a"].mean("time").compute()))
        their_means.append(timed(lambda: their_cube["a"].mean("time").compute()))
    np.testing.assert_allclose(means[0][1], their_means[0][1], atol=1e-5)

    their_open = statistics.median(s for s, _ in theirs)
    figures = {
        "files": count,
        "engine_of_the_peer": ENGINE,
        "peer_open_s": their_open,
        "open_first_s": first,
        "open_again_s": statistics.median(s for s, _ in again),
        "peer_mean_s": statistics.median(s for s, _ in their_means),
        "mean_s": statistics.median(s for s, _ in means),
        "references_bytes": sum(f.stat().st_size for f in (folder / "cubes").rglob("*") if f.is_file()),
    }
    ratios = {
        "open_again": their_open / figures["open_again_s"],
        "open_first": their_open / first,
        "time_mean": figures["peer_mean_s"] / figures["mean_s"],
    }
    for name, ratio in ratios.items():
        line = {
            "benchmark": name,
            "ratio": round(ratio, 2),
            "goal": GOALS[name],
            "figures": {k: round(v, 3) if isinstance(v, float) else v for k, v in figures.items()},
        }
        print(json.dumps(line))


def peer(files: list[Path]) -> Any:
    """Open as a careful person would by hand."""
    return xr.open_mfdataset(
        files,
        engine=ENGINE,
        combine="nested",
        concat_dim="time",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that `action` took, and its result."""
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


if __name__ == "__main__":
    main()
