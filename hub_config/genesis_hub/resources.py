"""Files that come with the workbench: from the checkout, or from the installed package."""

from __future__ import annotations

from pathlib import Path

from genesis_workbench.core.errors import NotFound

_PACKAGE = Path(__file__).parent
_SHARE = _PACKAGE / "share"
_CHECKOUT = _PACKAGE.parent.parent


def hub_config() -> Path:
    """Return the configuration file that JupyterHub is started with."""
    return _pick(_SHARE / "jupyterhub_config.py", _CHECKOUT / "hub_config/jupyterhub_config.py")


def site_file(name: str) -> Path:
    """Return the site file that comes with the workbench under `name`."""
    return _pick(_SHARE / f"sites/{name}.toml", _CHECKOUT / f"hub_config/sites/{name}.toml")


def build_script() -> Path:
    """Return the script that builds the images; NotFound outside a checkout, which alone has what they are built from."""
    script = _CHECKOUT / "images/build.py"
    if not script.exists():
        raise NotFound("Images are built from a checkout of the workbench: run this there.")
    return script


def tutorials() -> Path:
    """Return the folder of tutorials."""
    return _pick(_SHARE / "notebooks/tutorials", _CHECKOUT / "notebooks/tutorials")


def dashboards() -> Path:
    """Return the folder of dashboards."""
    return _pick(_SHARE / "notebooks/dashboards", _CHECKOUT / "notebooks/dashboards")


def lab_settings(*, team: bool = False) -> Path:
    """Return the folder of JupyterLab's settings as the workbench sets them; a team's leave editing together on."""
    name = "team_settings" if team else "settings"
    return _pick(_SHARE / f"lab_{name}", _CHECKOUT / f"extensions/genesis_lab/{name}")


def lab_options(*, team: bool = False) -> list[str]:
    """Return the options of JupyterLab that bring the workbench's settings and extensions: the warning before an idle server
    ends, and patience with widgets whose code comes late.
    """
    extensions = _pick(_SHARE / "labextensions", _CHECKOUT / "extensions/genesis_lab/labextensions")
    alone = "--ServerApp.jpserver_extensions=jupyter_server_ydoc=False"
    return [
        *([] if team else [alone]),
        f"--LabApp.app_settings_dir={lab_settings(team=team)}",
        f"--LabApp.extra_labextensions_path={extensions}",
    ]


def _pick(installed: Path, checkout: Path) -> Path:
    return installed if installed.exists() else checkout
