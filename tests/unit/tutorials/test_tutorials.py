"""Each field's tutorial runs, cell by cell, and what it shows can be shown; whole, its hypothesis is supported.

First light, which needs a hub, is in tests/browser.
"""

from __future__ import annotations

import ast
import ctypes.util
import json
import re
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import create_autospec

import holoviews as hv
import panel as pn
import pytest

import genesis_workbench as gw
from genesis_workbench.compute.schedulers import local

FOLDER = Path(__file__).parents[3] / "notebooks/tutorials"
MODULES = {"fits": "astropy"}  # of extras that are not named like what they bring
FIELDS = sorted({path.parent.name for path in FOLDER.glob("*/*.ipynb")} - {"first_light"})


@pytest.fixture(params=FIELDS)
def tutorial(request, tmp_path, monkeypatch):
    """Return the name of a field, and what runs its notebook with settings of its own: the names that it leaves."""
    monkeypatch.setenv("GENESIS_STATE", str(tmp_path))
    monkeypatch.setattr(gw, "share", create_autospec(gw.share))
    notebook = json.loads((FOLDER / request.param / f"{request.param}.ipynb").read_text())

    def run(**settings):
        names = {"__name__": "__main__"}
        for number, cell in enumerate(each for each in notebook["cells"] if each["cell_type"] == "code"):
            execute("".join(cell["source"]), f"<cell {number}>", names)
            if "parameters" in cell["metadata"].get("tags", []):
                assert settings.keys() <= names.keys()
                names |= settings
        return names

    yield request.param, run
    for watcher in local._watchers:
        watcher.wait(timeout=30)


def execute(source, name, names):
    """Run a cell as a notebook does: what its last line gives is shown."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), names)  # noqa: S102 - our own notebook
    if last is not None:
        show(eval(compile(ast.Expression(last.value), name, "eval"), names))  # noqa: S307 - likewise


def show(value):
    """Draw a plot, as a page would."""
    if isinstance(value, hv.core.Dimensioned):
        hv.renderer("bokeh").get_plot(value)
    elif isinstance(value, pn.viewable.Viewable):
        value.get_root()
    elif hasattr(value, "_repr_html_"):
        assert value._repr_html_()


def needed(field):
    """Skip where what the tutorial needs is missing, by the extras that its own page names."""
    page = (FOLDER / field / "README.md").read_text()
    for extra in re.findall(r"extra `(\w+)`", page):
        if find_spec(MODULES.get(extra, extra)) is None:
            pytest.skip(f'{field} needs an extra: pip install "genesis-workbench[{extra}]"')
    if "LAPACK" in page and not ctypes.util.find_library("lapack"):
        pytest.skip("the system has no LAPACK (Debian: liblapack3)")


@pytest.mark.timeout(300)
def test_each_cell_runs_and_each_plot_can_be_drawn(tutorial):
    field, run = tutorial
    needed(field)
    names = run(trials=2)
    evidence = names["finding"]["evidence"]
    assert (evidence["observed"], evidence["failed"]) == (2, 0)
    (shared,) = gw.share.call_args_list
    assert shared.kwargs["parameters"] == {"experiment": names["run"].id}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_as_it_is_its_hypothesis_is_supported(tutorial):
    field, run = tutorial
    needed(field)
    assert run()["finding"]["decision"] == "supported"


@pytest.mark.parametrize("field", FIELDS)
def test_it_is_a_template_without_outputs(field):
    cells = json.loads((FOLDER / field / f"{field}.ipynb").read_text())["cells"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]
    settings = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    assert len(settings) == 1
    assert "share_with = None" in "".join(settings[0]["source"])
