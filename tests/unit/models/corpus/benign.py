"""Artifacts as people export them, with the answers of what they were exported from."""

from __future__ import annotations

import json
import warnings

import numpy as np

from unit.models.corpus.case import Case

RNG = np.random.default_rng(7)
X = RNG.uniform(0, 1, (80, 2))
Y = 2 * X[:, 0] + X[:, 1] ** 2
PROBE = np.array([[0.25, 0.5], [0.75, 0.125], [0.5, 0.5]])
AB = {"a": PROBE[:, 0].tolist(), "b": PROBE[:, 1].tolist()}


def cases():
    """Return them all."""
    return [*onnx_cases(), *safetensors_cases(), *skops_cases(), *table_cases(), *formula_cases()]


def onnx_model(nodes, constants=(), kind="FLOAT", functions=(), opset=17, **more):
    """Build a model from a and b to y."""
    from onnx import TensorProto, helper

    number = getattr(TensorProto, kind)
    a, b, y = (helper.make_tensor_value_info(name, number, ["n"]) for name in "aby")
    graph = helper.make_graph(nodes, "case", [a, b], [y], list(constants), **more)
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=domains, functions=list(functions))
    model.ir_version = 8
    return model


def onnx_cases():
    from onnx import helper, numpy_helper

    def node(kind, inputs, outputs, **attributes):
        return helper.make_node(kind, inputs, outputs, **attributes)

    def constant(value, name, dtype="float32"):
        return numpy_helper.from_array(np.array(value, dtype=dtype), name)

    def doubled(dtype="float32"):
        return [node("Mul", ["a", "k"], ["d"]), node("Add", ["d", "b"], ["y"])], [constant(2, "k", dtype)]

    a, b = PROBE.T
    plain = {"y": (2 * a + b).tolist()}
    nodes, constants = doubled()
    yield Case("onnx-plain", "onnx", onnx_model(nodes, constants).SerializeToString(), AB, plain)
    yield Case("onnx-newer", "onnx", onnx_model(nodes, constants, opset=21).SerializeToString(), AB, plain)
    documented = onnx_model(nodes, constants, doc_string="import os; a harmless sentence")
    documented.metadata_props.add(key="author", value="Ada; __import__('os')")
    yield Case("onnx-with-metadata", "onnx", documented.SerializeToString(), AB, plain)
    wide = onnx_model(*doubled("float64"), kind="DOUBLE")
    yield Case("onnx-double", "onnx", wide.SerializeToString(), AB, plain, dtype="float64")
    whole = onnx_model(*doubled("int64"), kind="INT64")
    yield Case("onnx-whole-numbers", "onnx", whole.SerializeToString(), {"a": [1, 2], "b": [3, 4]}, {"y": [5, 8]}, dtype="int64")  # fmt: skip
    listed = helper.make_tensor("k", 1, [1], [2.0])
    yield Case("onnx-listed-numbers", "onnx", onnx_model(nodes, [listed]).SerializeToString(), AB, plain)

    function = helper.make_function("pkg.local", "Twice", ["p", "q"], ["r"], [node("Add", ["p", "p"], ["s"]), node("Add", ["s", "q"], ["r"])],
                                    [helper.make_opsetid("", 17)])  # fmt: skip
    named = onnx_model([node("Twice", ["a", "b"], ["y"], domain="pkg.local")], functions=[function])
    named.opset_import.append(helper.make_opsetid("pkg.local", 1))
    yield Case("onnx-function", "onnx", named.SerializeToString(), AB, plain)

    from onnx import TensorProto

    branches = [
        helper.make_graph([node(kind, ["a", "b"], ["z"])], kind, [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)])
        for kind in ("Add", "Sub")
    ]  # fmt: skip
    chosen = onnx_model(
        [node("ReduceSum", ["a"], ["total"], keepdims=0), node("Greater", ["total", "zero"], ["positive"]),
         node("If", ["positive"], ["y"], then_branch=branches[0], else_branch=branches[1])],
        [constant(0, "zero")],
    )  # fmt: skip
    yield Case("onnx-branches", "onnx", chosen.SerializeToString(), AB, {"y": (a + b).tolist()})
    yield Case("onnx-forest", "onnx", *_forest())


def _forest():
    from onnx import TensorProto, helper
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(5, max_depth=4, random_state=0).fit(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = convert_sklearn(
            forest, initial_types=[("X", FloatTensorType([None, 2]))], target_opset={"": 17, "ai.onnx.ml": 3}
        )
    inner = made.graph
    # As exported, but for one column each in front and a flat answer behind.
    for node in inner.node:
        node.output[:] = ["column" if name == inner.output[0].name else name for name in node.output]
    before = [helper.make_node("Unsqueeze", [n, "one"], [f"{n}2"]) for n in "ab"] + [
        helper.make_node("Concat", ["a2", "b2"], ["X"], axis=1)
    ]
    after = [helper.make_node("Squeeze", ["column", "one"], ["y"])]
    nodes = [*before, *inner.node, *after]
    a, b, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "aby")
    one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "forest", [a, b], [y], [*inner.initializer, one])
    model = helper.make_model(graph, opset_imports=list(made.opset_import))
    model.ir_version = 8
    return model.SerializeToString(), AB, {"y": forest.predict(PROBE.astype("float32")).tolist()}


def mlp(members=1, activation="tanh", dtype="float32", hidden=8):
    """Return the tensors of a network with two inputs and one output, and its configuration."""
    rng = np.random.default_rng(members)
    tensors = {"input.mean": np.zeros(2), "input.scale": np.ones(2), "output.mean": np.zeros(1), "output.scale": np.full(1, 2.0),
               "0.weight": rng.normal(size=(members, 2, hidden)), "0.bias": rng.normal(size=(members, 1, hidden)),
               "1.weight": rng.normal(size=(members, hidden, 1)), "1.bias": rng.normal(size=(members, 1, 1))}  # fmt: skip
    config = {"layers": [2, hidden, 1], "activation": activation, "members": members}
    return {name: value.astype(dtype) for name, value in tensors.items()}, config


def safetensors_file(tensors, config, architecture="mlp", **metadata):
    """Write a file with what it declares."""
    from safetensors.numpy import save

    return save(
        tensors, {"genesis.architecture": architecture, "genesis.config": json.dumps(config), **metadata}
    )


def computed(tensors, activation):
    """Compute what the members answer, member by member and in float64."""
    bend = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0), "silu": lambda x: x / (1 + np.exp(-x))}[
        activation
    ]
    w = {name: value.astype("float64") for name, value in tensors.items()}
    return np.array(
        [
            (
                (bend(PROBE @ w["0.weight"][m] + w["0.bias"][m]) @ w["1.weight"][m] + w["1.bias"][m])
                * w["output.scale"]
            )[:, 0]
            for m in range(len(w["0.weight"]))
        ]
    )


def safetensors_cases():
    for activation in ("tanh", "relu", "silu"):
        tensors, config = mlp(activation=activation)
        answer = {"y": computed(tensors, activation)[0].tolist()}
        yield Case(f"safetensors-{activation}", "safetensors", safetensors_file(tensors, config), AB, answer)
    for dtype in ("float64", "float16"):
        tensors, config = mlp(dtype=dtype)
        answer = {"y": computed(tensors, "tanh")[0].tolist()}
        yield Case(f"safetensors-{dtype}", "safetensors", safetensors_file(tensors, config), AB, answer)
    tensors, config = mlp(members=4)
    members = computed(tensors, "tanh")
    yield Case("safetensors-ensemble", "safetensors", safetensors_file(tensors, config), AB, {"y": members.mean(axis=0).tolist()})  # fmt: skip
    told = safetensors_file(tensors, {**config, "spread": True}, note="PK and \x80\x04 are only letters here")
    answer = {"y": members.mean(axis=0).tolist(), "y_std": members.std(axis=0, ddof=1).tolist()}
    yield Case("safetensors-ensemble-with-spread", "safetensors", told, AB, answer)
    yield Case("safetensors-bfloat16", "safetensors", *_bfloat16())


def _bfloat16():
    import torch
    from safetensors.torch import save

    tensors, config = mlp()
    rounded = {name: torch.from_numpy(value).to(torch.bfloat16) for name, value in tensors.items()}
    data = save(rounded, {"genesis.architecture": "mlp", "genesis.config": json.dumps(config)})
    return data, AB, {"y": computed({n: t.float().numpy() for n, t in rounded.items()}, "tanh")[0].tolist()}


def estimators():
    """Return fitted estimators by name."""
    from sklearn.decomposition import PCA
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import BayesianRidge, Lasso, LogisticRegression, Ridge
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, QuantileTransformer, StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    sorts = (Y.mean() < Y).astype(int)
    made = {
        "ridge": (make_pipeline(StandardScaler(), PolynomialFeatures(2), Ridge()), Y),
        "forest": (RandomForestRegressor(4, max_depth=4, random_state=0), Y),
        "forest-of-classes": (RandomForestClassifier(4, max_depth=4, random_state=0), sorts),
        "extra-trees": (ExtraTreesRegressor(4, max_depth=4, random_state=0), Y),
        "tree": (DecisionTreeClassifier(max_depth=3), sorts),
        "network": (MLPRegressor(hidden_layer_sizes=(6,), max_iter=30, random_state=0), Y),
        "gaussian-process": (GaussianProcessRegressor(ConstantKernel() * RBF() + WhiteKernel() + Matern(), optimizer=None), Y),
        "components": (make_pipeline(SimpleImputer(), PCA(2), BayesianRidge()), Y),
        "quantiles": (make_pipeline(QuantileTransformer(n_quantiles=10), Lasso(alpha=0.01)), Y),
        "logistic": (make_pipeline(MinMaxScaler(), LogisticRegression()), sorts),
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: estimator.fit(X, target) for name, (estimator, target) in made.items()}


def skops_cases():
    import skops.io

    for name, estimator in estimators().items():
        answer = {"y": estimator.predict(PROBE).astype(float).tolist()}
        yield Case(f"skops-{name}", "skops", skops.io.dumps(estimator), AB, answer, dtype="float64")


def table_cases():
    def csv(names, rows, end="\n"):
        return (
            end.join([",".join(names), *(",".join(map(repr, map(float, row))) for row in rows)]) + end
        ).encode()

    a, b = PROBE.T
    grid = [(p, q, 2 * p + q) for p in (0, 0.5, 1) for q in (0, 0.25, 1)]
    answer = {"y": (2 * a + b).tolist()}
    yield Case("table-two-inputs", "table", csv("aby", grid), AB, answer, dtype="float64")
    yield Case("table-in-any-order", "table", csv("aby", grid[::-1]), AB, answer, dtype="float64")
    yield Case("table-from-windows", "table", csv("aby", grid, "\r\n"), AB, answer, dtype="float64")
    yield Case(
        "table-without-a-last-line-end", "table", csv("aby", grid).rstrip(), AB, answer, dtype="float64"
    )
    line = b'"a","y"\n-1e0,+1.5E+1\n1,.5\n'
    yield Case(
        "table-one-input-quoted", "table", line, {"a": [-1, 0, 1]}, {"y": [15, 7.75, 0.5]}, dtype="float64"
    )
    two = csv(["a", "b", "y", "z"], [(*row, -row[2]) for row in grid])
    yield Case("table-two-outputs", "table", two, AB, {**answer, "z": (-2 * a - b).tolist()}, dtype="float64")


def formula_cases():
    a, b = PROBE.T

    def file(formulas, **constants):
        return json.dumps({"formulas": formulas, "constants": constants}).encode()

    for name, text, answer in [
        ("sum", "2 * a + b", 2 * a + b),
        ("powers", "a ** 2 / (1 + b) - -a", a**2 / (1 + b) + a),
        (
            "functions",
            "exp(-a) * sqrt(b) + log10(a) + sin(b)",
            np.exp(-a) * np.sqrt(b) + np.log10(a) + np.sin(b),
        ),
        ("least-and-most", "max(min(a, b, 0.4), 0.2)", np.maximum(np.minimum(np.minimum(a, b), 0.4), 0.2)),
    ]:
        yield Case(
            f"formula-{name}", "formula", file({"y": text}), AB, {"y": answer.tolist()}, dtype="float64"
        )
    rate = file({"y": "1e13 * exp(-a / (k * (300 + b)))"}, k=8.617e-5)
    answer = {"y": (1e13 * np.exp(-a / (8.617e-5 * (300 + b)))).tolist()}
    yield Case("formula-constants", "formula", rate, AB, answer, dtype="float64")
    both = file({"y": "a + b", "z": "a * b"})
    yield Case(
        "formula-two-outputs",
        "formula",
        both,
        AB,
        {"y": (a + b).tolist(), "z": (a * b).tolist()},
        dtype="float64",
    )
