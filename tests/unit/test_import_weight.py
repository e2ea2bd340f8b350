"""`import genesis_workbench` stays light: nothing heavy is imported until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ["dask", "distributed", "xarray", "pandas", "numpy", "scipy", "panel", "bokeh", "holoviews", "anywidget", "torch",
         "pvlib", "onnxruntime", "onnx", "sqlalchemy", "pint", "jupyterhub", "fastapi"]  # fmt: skip


@pytest.mark.parametrize(
    "module",
    [
        "genesis_workbench",
        "genesis_workbench.compute",
        "genesis_workbench.experiments",
        "genesis_workbench.catalog",
        "genesis_workbench.models",
    ],
)
def test_nothing_heavy_comes_along(module):
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []


def test_every_public_name_is_there():
    code = (
        "import genesis_workbench as gw; [getattr(gw, name) for name in gw.__all__]; print(len(gw.__all__))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(answer.stdout) > 10
