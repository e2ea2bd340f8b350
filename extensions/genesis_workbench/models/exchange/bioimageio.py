"""Packages of the BioImage Model Zoo: ``rdf.yaml``, weights, and test tensors as ``.npy``; in a folder or a zip archive.

Taken is version 0.5 of the format (https://github.com/bioimage-io/spec-bioimage-io) with weights in ONNX, whose tensors it
matches by their order. Its hashes are compared with the files and kept. A package may ask for steps before and after the network
that it describes in words; the zoo runs the network alone, and so refuses packages that need them.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from genesis_workbench.core import plain_yaml
from genesis_workbench.core.errors import GenesisError, InvalidInput, VerificationFailed
from genesis_workbench.core.identifiers import digest
from genesis_workbench.core.units import check_unit
from genesis_workbench.models.exchange._arrays import read_array, write_array
from genesis_workbench.models.exchange._base import MOST_TEXT_BYTES, RECORD, Incoming, read_record, record_of
from genesis_workbench.models.exchange._outline import tensors
from genesis_workbench.models.exchange._package import Package, check_name, open_package
from genesis_workbench.models.formats._base import MAX_BYTES
from genesis_workbench.models.record import ModelCard, ModelVersion, SelfTest
from genesis_workbench.models.signature import Signature, TensorSpec

VERSION = "0.5.12"
"""Of the format, as written."""
MOST_NUMBERS = 100_000
"""Of all test tensors together: a self-test is a part of the record."""
_ABOUT = ("rdf.yaml", "bioimageio.yaml")
_KEPT = ("id", "version", "format_version", "name", "git_repo")
_SI = frozenset({"m", "g", "s", "A", "K", "mol", "cd", "Hz", "N", "Pa", "J", "W", "V", "C", "F", "T", "H"})
_SIDES = {"input": "inputs", "output": "outputs"}


def read(folder: Path) -> Incoming:
    """Read a folder or an archive.

    Raises
    ------
    InvalidInput
        If it has no weights that the zoo can run, needs steps beside the network, or cannot be read.
    VerificationFailed
        If a file is not the one that the package describes, or holds no numbers.
    """
    package = open_package(folder)
    about = next((name for name in _ABOUT if package.has(name)), None)
    if about is None:
        raise InvalidInput(f"{folder} has no {_ABOUT[0]}: it is no package of the BioImage Model Zoo.")
    contents = {about: package.read(about, MOST_TEXT_BYTES)}
    told = _description(contents[about])
    artifact = _file(package, _weights(told), contents, "its weights")
    names = dict(zip(_SIDES, tensors(artifact), strict=True))
    sides = {side: _tensors(told, side, names[side]) for side in _SIDES}
    known = _record(package, told, contents)
    test = known.get("self_test") or _self_test(package, sides, contents)
    source = {
        "layout": "bioimageio",
        "files": {name: digest(content) for name, content in contents.items()},
        **({"archive": package.digest} if package.digest else {}),
        **{key: str(told[key])[:200] for key in _KEPT if isinstance(told.get(key), str | float | int)},
    }
    signature = known.get("signature") or _signature(sides)
    card = known.get("card") or _card(told, package, contents)
    return Incoming("onnx", artifact, source, signature, card, test)


def write(version: ModelVersion, artifact: bytes, folder: Path) -> None:
    """Write a version into a new folder that ``bioimageio.core`` opens, tests and packs.

    Raises
    ------
    InvalidInput
        If its format has no place in this layout.
    """
    if version.format != "onnx":
        raise InvalidInput(
            f"{version.reference} is in the format {version.format!r}; this layout takes onnx."
        )
    from genesis_workbench.models.formats._base import library

    model = library("onnx", "onnx").load_from_string(artifact)
    opset = next(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    files = {
        "model.onnx": artifact,
        RECORD: record_of(version).encode(),
        "README.md": _readme(version).encode(),
    }
    sides: dict[str, list[dict[str, Any]]] = {}
    for side, names in zip(_SIDES, tensors(artifact), strict=True):
        specs = {spec.name: spec for spec in getattr(version.signature, f"{side}s")}
        sides[side] = [_written(specs[name], n, side, version, files) for n, name in enumerate(names)]
    card = version.card
    about = {
        "type": "model",
        "format_version": VERSION,
        "name": _title(version),
        "description": card.what_for[:1024],
        "authors": [{"name": card.contact.partition("<")[0].strip() or version.owner or "unknown"}],
        **_cited(card.citation),
        "license": card.licence,
        "documentation": {"source": "README.md", "sha256": _sha256(files["README.md"])},
        "attachments": [{"source": RECORD, "sha256": _sha256(files[RECORD])}],
        "inputs": sides["input"],
        "outputs": sides["output"],
        "weights": {"onnx": {"source": "model.onnx", "sha256": _sha256(artifact), "opset_version": opset}},
    }
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / _ABOUT[0]).write_text(
        yaml.safe_dump(about, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )


def _description(content: bytes) -> dict[str, Any]:
    told = plain_yaml.load(content, _ABOUT[0])
    if not isinstance(told, dict) or told.get("type") != "model":
        raise InvalidInput(f"{_ABOUT[0]} describes no model.")
    if not str(told.get("format_version")).startswith("0.5."):
        raise InvalidInput(
            f"The package is of version {str(told.get('format_version'))[:20]!r} of the format; taken is 0.5. Convert it with: "
            "bioimageio update-format"
        )
    return told


def _weights(told: dict[str, Any]) -> dict[str, Any]:
    weights = told.get("weights")
    weights = weights if isinstance(weights, dict) else {}
    if not isinstance(weights.get("onnx"), dict):
        raise InvalidInput(
            f"The package has weights as {', '.join(map(str, weights))[:200] or 'nothing'}; taken are those in ONNX. Others are "
            "pickles or need code of their own: convert it with: bioimageio add-weights"
        )
    if weights["onnx"].get("external_data"):
        raise InvalidInput(
            "The weights lie beside the ONNX file (external_data). Export it with its weights inside."
        )
    return dict(weights["onnx"])


def _file(package: Package, told: Any, contents: dict[str, bytes], what: str, most: int = MAX_BYTES) -> bytes:
    """Read a file that the package names, and compare it with its hash."""
    if not isinstance(told, dict):
        raise InvalidInput(f"The package does not say which file has {what}.")
    name = check_name(told.get("source"))
    content = contents.setdefault(name, package.read(name, most))
    said = told.get("sha256")
    if said is not None and said != _sha256(content):
        raise VerificationFailed(
            f"{name} is not the file that the package describes: its hash is {_sha256(content)}, described is {str(said)[:80]}. "
            "Download it again."
        )
    return content


def _tensors(told: dict[str, Any], side: str, names: list[str]) -> dict[str, dict[str, Any]]:
    """Return what is told of each tensor, by its name in the network."""
    listed = told.get(_SIDES[side])
    if (
        not isinstance(listed, list)
        or len(listed) != len(names)
        or not all(isinstance(each, dict) for each in listed)
    ):
        raise InvalidInput(
            f"The package does not describe {len(names)} {side}s, which its network has ({', '.join(names)[:200]})."
        )
    for each in listed:
        steps = each.get("preprocessing") or each.get("postprocessing") or []
        needed = [str(step.get("id") if isinstance(step, dict) else step)[:40] for step in steps][:10]
        if set(needed) - {"ensure_dtype"}:
            raise InvalidInput(
                f"The {side} {str(each.get('id'))[:40]!r} needs {', '.join(needed)}, which is not a part of the network. "
                "Export the network with these steps inside."
            )
    return dict(zip(names, listed, strict=True))


def _signature(sides: dict[str, dict[str, dict[str, Any]]]) -> Signature:
    try:
        return Signature.model_validate(
            {f"{side}s": [_spec(name, each) for name, each in told.items()] for side, told in sides.items()}
        )
    except (AttributeError, KeyError, TypeError, ValueError, ValidationError) as error:
        raise InvalidInput(f"The tensors in {_ABOUT[0]} cannot be used: {str(error)[:300]}.") from error


def _spec(name: str, told: dict[str, Any]) -> dict[str, Any]:
    data = told.get("data") or {}
    first = data[0] if isinstance(data, list) else data  # a list has one for each channel
    low, high = first.get("range") or (None, None)
    return {
        "name": name,
        "dtype": first.get("type", "float32"),
        "shape": [_length(axis) for axis in told["axes"]],
        "unit": _unit(first.get("unit")),
        "low": low,
        "high": high,
        "description": str(told.get("description") or told.get("id") or "")[:500],
    }


def _length(axis: dict[str, Any]) -> int | None:
    if axis["type"] == "batch":
        return None
    if axis["type"] == "channel":
        return len(axis["channel_names"])
    return axis["size"] if isinstance(axis["size"], int) else None


def _unit(told: Any) -> str:
    try:
        return check_unit(str(told)) if told and told != "arbitrary unit" else ""
    except GenesisError:
        return ""


def _self_test(
    package: Package, sides: dict[str, dict[str, dict[str, Any]]], contents: dict[str, bytes]
) -> SelfTest | None:
    """Return the test tensors; nothing where they are too many numbers for a record."""
    arrays = {
        side: {
            name: read_array(
                _file(package, each.get("test_tensor"), contents, f"the test tensor of {name}"),
                f"The test tensor of {name}",
            )
            for name, each in told.items()
        }
        for side, told in sides.items()
    }
    if sum(array.size for side in arrays.values() for array in side.values()) > MOST_NUMBERS:
        return None
    numbers = {
        f"{side}s": {name: array.tolist() for name, array in told.items()} for side, told in arrays.items()
    }
    try:
        return SelfTest.model_validate({**numbers, "rtol": 1e-3, "atol": 1e-4})
    except ValidationError as error:
        raise InvalidInput(f"The test tensors cannot be used: {str(error)[:300]}.") from error


def _record(package: Package, told: dict[str, Any], contents: dict[str, bytes]) -> dict[str, Any]:
    """Return what a package that was exported from a zoo carries."""
    attached = told.get("attachments")
    for each in attached if isinstance(attached, list) else []:
        if isinstance(each, dict) and each.get("source") == RECORD:
            return read_record(_file(package, each, contents, "the record", MOST_TEXT_BYTES))
    return {}


def _card(told: dict[str, Any], package: Package, contents: dict[str, bytes]) -> ModelCard | None:
    """Return what the package says, where it says enough."""
    title, licence = told.get("name"), told.get("license")
    if not isinstance(title, str) or not isinstance(licence, str):
        return None
    cited = [each.get("text") for each in told.get("cite") or [] if isinstance(each, dict)]
    people = [each.get("name") for each in told.get("authors") or [] if isinstance(each, dict)]
    data = told.get("training_data")
    trained_on = data.get("id") or data.get("name") if isinstance(data, dict) else None
    return ModelCard(
        title=title[:300],
        what_for=str(told.get("description") or title)[:2000],
        trained_on=str(trained_on or "Its package does not say.")[:500],
        limits="Its package names none.",
        licence=licence,
        contact=", ".join(map(str, people))[:300],
        citation="; ".join(map(str, cited))[:2000],
    )


def _written(
    spec: TensorSpec, number: int, side: str, version: ModelVersion, files: dict[str, bytes]
) -> dict[str, Any]:
    """Describe one tensor, and put its test tensor among the files."""
    test = getattr(version.self_test, f"{side}s")[spec.name]
    name = f"{side}_{number}.npy"
    files[name] = write_array(np.asarray(test, dtype=spec.dtype))
    data: dict[str, Any] = {
        "type": "uint8" if spec.dtype == "bool" else spec.dtype,
        "range": [spec.low, spec.high],
    }
    if spec.unit in _SI:
        data["unit"] = spec.unit
    return {
        "id": f"{side}{number}",
        "description": " ".join(filter(None, [spec.name, spec.unit and f"[{spec.unit}]", spec.description]))[
            :128
        ],
        "axes": [_axis(length, n) for n, length in enumerate(spec.shape)],
        "data": data,
        "test_tensor": {"source": name, "sha256": _sha256(files[name])},
    }


def _axis(length: int | None, number: int) -> dict[str, Any]:
    if number == 0 and length is None:
        return {"type": "batch"}
    size: Any = length if length is not None else {"min": 1, "step": 1}
    return {"type": "index", "id": f"axis{number}", "size": size}


def _title(version: ModelVersion) -> str:
    """Return a name as the format wants it: 5 to 128 letters, digits and a few signs."""
    title = re.sub(r"[^\w\- ()/+]", " ", version.card.title)[:100].strip()
    return title if len(title) >= 5 else f"{title} model {version.name}"[:128]


def _cited(citation: str) -> dict[str, Any]:
    """Return a citation with the DOI or address in it: the format takes none without."""
    doi, url = re.search(r"10\.\d{4,9}/\S+[^\s.,;)]", citation), re.search(r"https?://\S+[^\s.,;)]", citation)
    where = {"doi": doi[0]} if doi else {"url": url[0]} if url else {}
    return {"cite": [{"text": citation, **where}]} if where else {}


def _readme(version: ModelVersion) -> str:
    card = version.card
    measured = [f"{metric.name}: {metric.value:g} {metric.unit} on {metric.data}" for metric in card.metrics]
    told = {
        "What it is for": card.what_for,
        "Training data": card.trained_on,
        "Validation": "\n".join(measured) or "Nothing was measured but its test tensors.",
        "Limits": card.limits,
        "Citation": version.cite(),
    }
    return f"# {card.title}\n\n" + "\n\n".join(f"## {title}\n\n{text}" for title, text in told.items()) + "\n"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
