"""scikit-learn estimators as skops files, of named types only.

A skops file is a zip with a tree of nodes (schema.json) and arrays. Every node's loader and type is looked up in the
lists below before skops sees the file; functions, methods, partials and anything by ``__reduce__`` are on none.
Estimators whose compiled code trusts its arrays (support vector machines, histogram boosting, k-d trees) are left
out; decision trees are in, because their arrays are checked here.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from genesis_workbench.core.errors import InvalidInput, TooLarge, VerificationFailed
from genesis_workbench.models.formats._base import (
    MAX_BYTES,
    Tensor,
    installed,
    library,
    read_json,
    refuse_pickles,
)

if TYPE_CHECKING:
    import numpy as np

    from genesis_workbench.models.signature import Signature

_WANTED = "one skops file of a scikit-learn estimator"
_MEMBER = re.compile(r"schema\.json|\d{1,30}\.npy")
_MOST_MEMBERS, _MOST_NODES, _MOST_DEPTH, _MOST_SCHEMA_BYTES = 20_000, 500_000, 200, 64 * 1024 * 1024

LOADERS = frozenset(
    {"DictNode", "ListNode", "TupleNode", "TypeNode", "NdArrayNode", "JsonNode", "DTypeNode", "TreeNode", "ObjectNode",
     "CachedNode", "RandomStateNode", "SliceNode"}
)  # fmt: skip
TRUSTED = frozenset(
    {f"builtins.{name}" for name in ("dict", "list", "tuple", "str", "int", "float", "bool", "slice", "NoneType")}
    | {f"numpy.{name}" for name in ("ndarray", "dtype", "float64", "float32", "int64", "int32", "uint64", "uint32", "bool", "bool_", "str_")}
    | {"numpy.random.mtrand.RandomState", "sklearn.tree._tree.Tree", "sklearn.pipeline.Pipeline"}
    | {f"sklearn.linear_model._{name}" for name in (
        "base.LinearRegression", "ridge.Ridge", "ridge.RidgeCV", "ridge.RidgeClassifier", "coordinate_descent.Lasso",
        "coordinate_descent.ElasticNet", "logistic.LogisticRegression", "bayes.BayesianRidge", "bayes.ARDRegression",
        "huber.HuberRegressor")}
    | {f"sklearn.preprocessing._{name}" for name in (
        "data.StandardScaler", "data.MinMaxScaler", "data.MaxAbsScaler", "data.RobustScaler", "data.Normalizer",
        "data.QuantileTransformer", "polynomial.PolynomialFeatures", "label.LabelBinarizer")}
    | {f"sklearn.gaussian_process.{name}" for name in (
        "_gpr.GaussianProcessRegressor", "kernels.ConstantKernel", "kernels.Matern", "kernels.Product", "kernels.RBF",
        "kernels.RationalQuadratic", "kernels.Sum", "kernels.WhiteKernel", "kernels.Hyperparameter")}
    | {f"sklearn.neural_network._{name}" for name in (
        "multilayer_perceptron.MLPRegressor", "multilayer_perceptron.MLPClassifier", "stochastic_optimizers.AdamOptimizer",
        "stochastic_optimizers.SGDOptimizer")}
    | {f"sklearn.tree._classes.{kind}{task}" for kind in ("DecisionTree", "ExtraTree") for task in ("Regressor", "Classifier")}
    | {f"sklearn.ensemble._forest.{kind}{task}" for kind in ("RandomForest", "ExtraTrees") for task in ("Regressor", "Classifier")}
    | {"sklearn.impute._base.SimpleImputer", "sklearn.decomposition._pca.PCA"}
)  # fmt: skip
"""Types that a file may hold, by their full names."""


class SkopsFormat:
    """One skops file."""

    name: ClassVar[str] = "skops"
    suffix: ClassVar[str] = ".skops"
    extra: ClassVar[str] = "skops"

    def check(self, data: bytes) -> None:
        """Refuse archives with anything but a schema and plain arrays in them, and nodes that are on no list.

        Raises
        ------
        TooLarge
            If it has more than 256 MB, or would have when it is unpacked.
        VerificationFailed
            With the reason, for everything else.
        """
        refuse_pickles(data, _WANTED)
        archive = _archive(data)
        names = {info.filename for info in archive.infolist()}
        files: set[str] = set()
        for node in _nodes(read_json(_member(archive, "schema.json"), "Its schema.json")):
            _check_node(node)
            if node["__loader__"] == "NdArrayNode" and node.get("type") == "numpy":
                files.add(str(node.get("file")))
        if files != names - {"schema.json"}:
            odd = sorted(files ^ (names - {"schema.json"}))[0]
            raise VerificationFailed(
                f"The archive and its schema do not agree on the file {odd[:80]!r}. Save it again."
            )
        for name in files:
            _check_array(name, _member(archive, name))

    def load(self, data: bytes, signature: Signature) -> SkopsModel:
        """Make it runnable. Call :meth:`check` first. Columns are the signature's inputs in order."""
        skops = library("skops.io", self.extra)
        try:
            estimator = skops.loads(data, trusted=sorted(TRUSTED))
        except Exception as error:  # its nodes raise whatever the types they make raise
            raise VerificationFailed(
                f"skops cannot load the estimator: {str(error)[:300]}. Save it again."
            ) from error
        return SkopsModel(estimator, signature)

    def versions(self) -> tuple[str, ...]:
        """Return which libraries run it, with their versions."""
        return tuple(installed(name, self.extra) for name in ("skops", "scikit-learn", "numpy"))

    def warm(self) -> None:
        """Import the libraries that check and run it."""
        library("skops.io", self.extra)


class SkopsModel:
    """A fitted estimator: samples in rows, the signature's inputs in columns; answers what ``predict`` gives."""

    def __init__(self, estimator: Any, signature: Signature) -> None:
        if not hasattr(estimator, "predict"):
            raise VerificationFailed(f"The file holds a {type(estimator).__name__}, which cannot predict.")
        expected = getattr(estimator, "n_features_in_", None)
        if expected != len(signature.inputs):
            raise VerificationFailed(
                f"The estimator was fitted on {expected} columns; the signature has {len(signature.inputs)}."
            )
        for tree, columns in _trees(estimator):
            _check_tree(tree, columns)
        self._estimator = estimator
        self.inputs = tuple(Tensor(spec.name, "float64", (None,)) for spec in signature.inputs)
        self.outputs = tuple(Tensor(spec.name, "float64", (None,)) for spec in signature.outputs)

    def run(
        self, inputs: Mapping[str, np.ndarray], *, deadline_s: float | None = None
    ) -> dict[str, np.ndarray]:
        """Return all outputs by name."""
        import numpy as np

        try:
            rows = np.stack([np.asarray(inputs[tensor.name]) for tensor in self.inputs], axis=-1)
            answer = np.asarray(self._estimator.predict(rows), dtype="float64").reshape(len(rows), -1)
        except Exception as error:  # each estimator has its own kinds
            raise InvalidInput(f"The model cannot take these inputs: {str(error)[:300]}") from error
        if answer.shape[1] != len(self.outputs):
            raise InvalidInput(
                f"The estimator gives {answer.shape[1]} outputs; the signature has {len(self.outputs)}."
            )
        return {tensor.name: answer[:, i] for i, tensor in enumerate(self.outputs)}


def _archive(data: bytes) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise VerificationFailed(f"The artifact is no zip archive: {error}. Give {_WANTED}.") from error
    names = [member.filename for member in members]
    if len(set(names)) != len(names) or len(names) > _MOST_MEMBERS or "schema.json" not in names:
        raise VerificationFailed(
            f"The archive has no schema.json, a file twice, or more than {_MOST_MEMBERS:,} files."
        )
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if not _MEMBER.fullmatch(member.filename) or kind not in (0, stat.S_IFREG) or member.flag_bits & 1:
            raise VerificationFailed(
                f"The archive has {member.filename[:80]!r} in it; only schema.json and plain arrays (123.npy) are taken."
            )
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise VerificationFailed(
                f"{member.filename} is packed in a way that skops does not use. Save it again."
            )
    unpacked = sum(member.file_size for member in members)
    if unpacked > MAX_BYTES:
        raise TooLarge(
            f"The archive would have {unpacked:,} bytes when unpacked; at most {MAX_BYTES:,} are taken."
        )
    _check_whole(archive, members, data)
    return archive


def _check_whole(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], data: bytes) -> None:
    """Refuse bytes that belong to no member: before the first, between them, and after the directory."""
    place = 0
    for member in sorted(members, key=lambda each: each.header_offset):
        if member.header_offset != place:
            raise VerificationFailed(
                "The archive has bytes that belong to none of its files: something is hidden in it."
            )
        local = data[place : place + 30]
        name, extra = int.from_bytes(local[26:28], "little"), int.from_bytes(local[28:30], "little")
        if data[place + 30 : place + 30 + name] != member.filename.encode() or member.flag_bits & 0x08:
            raise VerificationFailed(
                f"{member.filename} has another name in front of its bytes than in the directory."
            )
        place += 30 + name + extra + member.compress_size
    if archive.comment or place != archive.start_dir or data[-22:-18] != b"PK\5\6":
        raise VerificationFailed(
            "The archive has bytes that belong to none of its files: something is hidden in it."
        )


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read a member, never more than it said it has."""
    size = archive.getinfo(name).file_size
    if name == "schema.json" and size > _MOST_SCHEMA_BYTES:
        raise TooLarge(f"The schema has {size:,} bytes; at most {_MOST_SCHEMA_BYTES:,} are taken.")
    try:
        with archive.open(name) as file:
            content = file.read(size + 1)
    except Exception as error:  # zlib's and zipfile's own kinds
        raise VerificationFailed(f"{name} in the archive is damaged: {str(error)[:200]}.") from error
    if len(content) != size:
        raise VerificationFailed(f"{name} in the archive has not the {size:,} bytes that it claims.")
    return content


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Walk through all nodes of a schema; whatever has a loader is one."""
    waiting, seen = [(tree, 0)], 0
    if not isinstance(tree, dict) or "__loader__" not in tree:
        raise VerificationFailed("Its schema.json has no tree of nodes. Save it again with skops.")
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if seen > _MOST_NODES or depth > _MOST_DEPTH:
            raise VerificationFailed(
                f"Its schema has more than {_MOST_NODES:,} nodes or {_MOST_DEPTH} levels."
            )
        if isinstance(value, dict):
            if {"__loader__", "__class__", "__module__", "__reduce__"} & set(value):
                yield value
            waiting.extend((each, depth + 1) for each in value.values())
        elif isinstance(value, list):
            waiting.extend((each, depth + 1) for each in value)


def _check_node(node: dict[str, Any]) -> None:
    loader = node.get("__loader__")
    kind = f"{node.get('__module__')}.{node.get('__class__')}"
    if loader not in LOADERS:
        raise VerificationFailed(
            f"The file holds a {str(loader)[:60]} ({kind[:120]}), by which a file could call what it likes; "
            f"taken are {', '.join(sorted(LOADERS))}."
        )
    if kind not in TRUSTED and loader != "CachedNode":
        raise VerificationFailed(
            f"The file holds a {kind[:160]}, which is not among the types that are trusted. Export such a model to ONNX."
        )
    if "__reduce__" in node and loader != "TreeNode":
        raise VerificationFailed(f"The file rebuilds a {kind[:160]} by __reduce__, which is not taken.")


_FORESTS = ("RandomForest", "ExtraTrees", "IsolationForest")


def _check_array(name: str, content: bytes) -> None:
    import numpy as np

    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file, max_header_size=10_000)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise VerificationFailed(f"{name} is no array of numpy: {str(error)[:200]}.") from error
    if dtype.hasobject:
        raise VerificationFailed(f"{name} is an array of Python objects, which are pickles. Save it again.")
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if len(content) - file.tell() != size:
        raise VerificationFailed(
            f"{name} has {len(content) - file.tell():,} bytes of numbers; its header says {size:,}."
        )


def _trees(estimator: Any, columns: Any = None, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Walk through the decision trees inside an estimator, each with how many columns it will be given.

    An estimator that predicts alone looks at what it is given by its own ``n_features_in_``. A forest does so once, for all of
    its trees.
    """
    if depth > 6:
        return
    if type(estimator).__name__ == "Tree":
        yield estimator, columns
    elif isinstance(estimator, list | tuple):
        for each in estimator:
            yield from _trees(each, columns, depth + 1)
    elif hasattr(estimator, "__dict__"):
        own = getattr(estimator, "n_features_in_", None)
        forest = type(estimator).__name__.startswith(_FORESTS)
        for name, each in vars(estimator).items():
            if name == "tree_" and columns is not None and own != columns:
                yield each, None  # within a forest that hands on another number of columns
            else:
                yield from _trees(each, own if forest or name == "tree_" else None, depth + 1)


def _check_tree(tree: Any, columns: Any) -> None:
    """Refuse a tree whose compiled walk would leave its arrays, or never end: children come after their parent.

    Which columns it looks at is held against how many it is given: how many it says that it has is a number of the file's.
    """
    import numpy as np

    count = tree.node_count
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    parents = np.arange(count)
    leaf = left == -1
    inner = ~leaf
    sound = (
        count > 0
        and isinstance(columns, int | np.integer)
        and tree.n_features == columns
        and len(tree.value) == count
        and bool(((left[inner] > parents[inner]) & (left[inner] < count)).all())
        and bool(((right[inner] > parents[inner]) & (right[inner] < count)).all())
        and bool(((feature[inner] >= 0) & (feature[inner] < tree.n_features)).all())
    )
    if not sound:
        raise VerificationFailed("A decision tree in the file has branches that lead nowhere. Save it again.")
