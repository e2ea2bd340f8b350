"""What a run ran with, for its lineage."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("genesis-workbench", "torch", "numpy", "safetensors", "ase", "pvlib", "statsmodels")


def environment() -> dict[str, str]:
    """Return versions of Python and packages, system, processor and threads."""
    import torch

    found = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
    }
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found["accelerator"] = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    found["threads"] = str(torch.get_num_threads())
    found["scheduler"] = "slurm" if "SLURM_JOB_ID" in os.environ else ""
    return found
