"""The layout of the Hugging Face Hub: weights, ``config.json``, and a card in ``README.md`` with YAML in front.

A folder is read as ``huggingface_hub.snapshot_download(..., local_dir=...)`` leaves it. What that wrote of each file, the commit
and the hash by which the hub knows it, is compared with the file and kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import yaml

from genesis_workbench.core import plain_yaml
from genesis_workbench.core.errors import InvalidInput, VerificationFailed
from genesis_workbench.core.identifiers import digest
from genesis_workbench.models.exchange._base import (
    MOST_TEXT_BYTES,
    RECORD,
    Incoming,
    has,
    read_file,
    read_record,
    record_of,
)
from genesis_workbench.models.formats._base import read_json
from genesis_workbench.models.record import ModelCard, ModelVersion

_WEIGHTS = {"model.safetensors": "safetensors", "model.onnx": "onnx", "model.skops": "skops"}
_DOWNLOADED = Path(".cache/huggingface/download")


def read(folder: Path) -> Incoming:
    """Read a folder.

    Raises
    ------
    InvalidInput
        If it has no weights that the zoo can run, or files that cannot be read.
    VerificationFailed
        If a file is not the one that the hub gave.
    """
    weights = next((name for name in _WEIGHTS if has(folder, name)), None)
    if weights is None:
        raise InvalidInput(
            f"{folder} has none of {', '.join(_WEIGHTS)}: weights in other files, such as pytorch_model.bin, are pickles or need "
            "code of their own, and are not taken."
        )
    artifact = read_file(folder, weights)
    names = [name for name in (weights, "config.json", "README.md", RECORD) if has(folder, name)]
    contents = {
        name: artifact if name == weights else read_file(folder, name, MOST_TEXT_BYTES) for name in names
    }
    source: dict[str, Any] = {
        "layout": "huggingface",
        "files": {name: digest(content) for name, content in contents.items()},
        **_downloaded(folder, contents),
    }
    if "config.json" in contents:
        config = read_json(contents["config.json"], "config.json")
        if isinstance(config, dict) and isinstance(config.get("_name_or_path"), str):
            source["repository"] = config["_name_or_path"][:200]
    known = read_record(contents[RECORD]) if RECORD in contents else {}
    card = known.get("card") or _card(contents.get("README.md", b"").decode("utf-8", "replace"))
    return Incoming(
        known.get("format", _WEIGHTS[weights]),
        artifact,
        source,
        known.get("signature"),
        card,
        known.get("self_test"),
    )


def write(version: ModelVersion, artifact: bytes, folder: Path) -> None:
    """Write a version into a new folder, ready to be uploaded.

    Raises
    ------
    InvalidInput
        If its format has no place in this layout.
    """
    name = next((name for name, known in _WEIGHTS.items() if known == version.format), None)
    if name is None:
        raise InvalidInput(
            f"{version.reference} is in the format {version.format!r}; this layout takes {', '.join(_WEIGHTS.values())}."
        )
    config = {
        "model_type": "genesis-workbench",
        "_name_or_path": version.reference,
        "architectures": [f"genesis-{version.format}"],
        "inputs": [spec.model_dump(mode="json") for spec in version.signature.inputs],
        "outputs": [spec.model_dump(mode="json") for spec in version.signature.outputs],
    }
    folder.mkdir(parents=True)
    (folder / name).write_bytes(artifact)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    (folder / RECORD).write_text(record_of(version), encoding="utf-8")
    (folder / "README.md").write_text(_readme(version), encoding="utf-8")


def _readme(version: ModelVersion) -> str:
    card = version.card
    metrics = [
        {
            "task": {"type": "other"},
            "dataset": {"name": metric.data, "type": "other"},
            "metrics": [{"type": metric.name, "name": metric.name, "value": metric.value}],
        }
        for metric in card.metrics
    ]
    front = {
        "license": card.licence.lower(),
        "library_name": "genesis-workbench",
        "tags": ["genesis-workbench", version.format],
        "datasets": [each.identifier for each in card.datasets],
        "model-index": [{"name": version.name, "results": metrics}],
    }
    sections = {
        "What it is for": card.what_for,
        "Training data": card.trained_on,
        "Limits": card.limits,
        "Citation": version.cite(),
        **({"Contact": card.contact} if card.contact else {}),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return (
        f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n# {card.title}\n\n{body}\n"
    )


def _card(readme: str) -> ModelCard | None:
    """Return what a card of the hub says, where it says enough."""
    found = re.match(r"---\n(.*?)\n---\n(.*)", readme, re.DOTALL)
    if found is None:
        return None
    front = plain_yaml.load(found[1], "The YAML in front of README.md")
    licence = front.get("license") if isinstance(front, dict) else None
    title = re.search(r"^# (.+)$", found[2], re.MULTILINE)
    if not licence or title is None:
        return None
    text = found[2].replace(title[0], "", 1).strip()
    return ModelCard(
        title=title[1].strip()[:300],
        what_for=_section(text, "what it is for", "intended use", "uses", "description")
        or text[:2000]
        or title[1],
        trained_on=_section(text, "training data", "training") or "Its card does not say.",
        limits=_section(text, "limits", "limitation", "bias") or "Its card names none.",
        licence=str(licence)[:300],
        citation=_section(text, "citation") or "",
    )


def _section(text: str, *titles: str) -> str:
    sections: list[tuple[str, str]] = re.findall(
        r"^#+ (.+?)\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL
    )
    for heading, body in sections:
        if any(title in heading.casefold() for title in titles) and body.strip():
            return body.strip()[:2000]
    return ""


def _downloaded(folder: Path, contents: dict[str, bytes]) -> dict[str, Any]:
    """Return by which commit and hashes the hub knows the files, after comparing them."""
    commits, etags = set(), {}
    for name, content in contents.items():
        note = _DOWNLOADED / f"{name}.metadata"
        if not has(folder, str(note)):
            continue
        lines = read_file(folder, str(note), 4096).decode("utf-8", "replace").splitlines()
        if len(lines) < 2:
            raise InvalidInput(f"{note} does not say commit and hash. Download the model again.")
        commit, etag = lines[0].strip(), lines[1].strip().strip('"')
        if etag not in _etags(content):
            raise VerificationFailed(
                f"{name} is not the file that the hub gave: its hash is {_etags(content)[-1]}, the hub's {etag[:80]}. "
                "Download it again."
            )
        commits.add(commit)
        etags[name] = etag
    if not etags:
        return {}
    if len(commits) > 1:
        raise VerificationFailed(
            f"The files are of different commits: {', '.join(sorted(commits))[:200]}. Download them again."
        )
    return {"revision": commits.pop(), "hub_hashes": etags}


def _etags(content: bytes) -> tuple[str, str]:
    """Return by which the hub may know a file: as a blob of git, or as a large file."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return blob, hashlib.sha256(content).hexdigest()
