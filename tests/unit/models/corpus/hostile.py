"""Artifacts that would run something, reach outside themselves, hide something or break what reads them."""

from __future__ import annotations

import io
import json
import pickle
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from unit.models.corpus.case import Case

FORMATS = ("onnx", "safetensors", "skops", "table", "formula")


class Call:
    """Unpickled, it calls."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def cases(canary, good):
    """Return them all; `good` has the benign ones by name."""
    yield from pickles(canary)
    yield from archives(canary, good)
    yield from onnx_cases(good)
    yield from safetensors_cases(good)
    yield from skops_cases(canary, good)
    yield from table_cases()
    yield from formula_cases(canary)


def pickles(canary):
    import builtins
    import os

    payloads = {
        "os-system": Call(os.system, f"touch {canary}"),
        "write-text": Call(Path.write_text, canary, "run"),
        "exec": Call(builtins.exec, f"open({str(canary)!r}, 'w')"),
        "eval": Call(builtins.eval, f"open({str(canary)!r}, 'w')"),
    }
    for number, (name, payload) in enumerate(payloads.items()):
        for protocol in (0, 2, 5):
            yield Case(
                f"pickle-{name}-{protocol}",
                FORMATS[(number + protocol) % 5],
                pickle.dumps(payload, protocol=protocol),
            )
    for kind in FORMATS:
        yield Case(f"pickle-as-{kind}", kind, pickle.dumps(payloads["write-text"]))
    yield Case("pickle-compressed", "skops", zlib.compress(pickle.dumps(payloads["exec"])))


def zipped(files, kind=zipfile.ZIP_DEFLATED):
    """Return an archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", kind) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return archive.getvalue()


def archives(canary, good):
    payload = pickle.dumps(Call(Path.write_text, canary, "run"))
    torch_file = zipped({"archive/data.pkl": payload, "archive/version": "3"})
    keras_file = zipped({"config.json": "{}", "metadata.json": "{}", "model.weights.h5": b"\x89HDF"})
    for kind in FORMATS:
        yield Case(f"torch-as-{kind}", kind, torch_file)
    yield Case("keras-as-skops", "skops", keras_file)
    for kind, name in [("onnx", "onnx-plain"), ("safetensors", "safetensors-tanh"), ("table", "table-two-inputs"),
                       ("formula", "formula-sum"), ("skops", "skops-ridge")]:  # fmt: skip
        yield Case(f"polyglot-{kind}-then-torch", kind, good[name].data + torch_file)
        yield Case(f"polyglot-torch-then-{kind}", kind, torch_file + good[name].data)


def onnx_cases(good):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def changed(name, change):
        model = onnx.ModelProto.FromString(good["onnx-plain"].data)
        change(model)
        return Case(f"onnx-{name}", "onnx", model.SerializeToString())

    def away(location, **more):
        def change(model):
            tensor = model.graph.initializer[0]
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in {"location": location, **more}.items():
                tensor.external_data.add(key=key, value=value)

        return change

    for name, location in [("absolute", "/etc/passwd"), ("above", "../../../../etc/shadow"), ("beside", "weights.bin"),
                           ("process", "/proc/self/environ"), ("memory", "*/_ORT_MEM_ADDR_/*")]:  # fmt: skip
        yield changed(f"external-{name}", away(location, offset="0", length="4"))

    def quiet(model):
        model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")

    yield changed("external-without-saying-so", quiet)

    def in_attribute(model):
        hidden = TensorProto(name="hidden", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
        hidden.external_data.add(key="location", value="x")
        model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=hidden))

    yield changed("external-in-an-attribute", in_attribute)
    yield changed(
        "other-operators",
        lambda m: m.graph.node.append(helper.make_node("PyOp", ["a"], ["u"], domain="ai.onnx.contrib")),
    )
    yield changed("other-opset", lambda m: m.opset_import.append(helper.make_opsetid("com.microsoft", 1)))

    def in_another_name(model):
        inner = helper.make_node("Add", ["p", "p"], ["q"])
        opset = [helper.make_opsetid("", 17)]
        model.functions.append(helper.make_function("com.microsoft", "Gelu", ["p"], ["q"], [inner], opset))
        model.graph.node.append(helper.make_node("Gelu", ["a"], ["u"], domain="com.microsoft"))

    yield changed("function-in-a-name-of-others", in_another_name)
    yield changed("too-few-numbers", lambda m: setattr(m.graph.initializer[0], "raw_data", b"\0"))
    yield changed("huge-shape", lambda m: m.graph.initializer[0].dims.extend([2**40]))
    yield changed("negative-shape", lambda m: m.graph.initializer[0].dims.extend([-1]))
    yield changed("no-such-type", lambda m: setattr(m.graph.initializer[0], "data_type", 99))
    yield changed("no-graph", lambda m: m.ClearField("graph"))
    yield changed("cycle", lambda m: m.graph.node[0].input.__setitem__(0, "y"))
    yield changed("unknown-operator", lambda m: setattr(m.graph.node[0], "op_type", "RunPython"))
    yield Case("onnx-appended", "onnx", good["onnx-plain"].data + b"\xfa\x7f\x05hello")
    yield Case("onnx-half", "onnx", good["onnx-plain"].data[:60])
    yield Case("onnx-text", "onnx", b"import os; os.system('id')")
    deep = b""
    for _ in range(300):  # graphs in attributes in graphs
        deep = b"\x32" + _varint(len(deep)) + deep
        deep = b"\x2a" + _varint(len(deep)) + deep
        deep = b"\x0a" + _varint(len(deep)) + deep
    yield Case("onnx-nested", "onnx", b"\x3a" + _varint(len(deep)) + deep)

    def sized(*axes):
        def change(model):
            model.graph.initializer.append(numpy_helper.from_array(np.array(axes, dtype="int64"), "big"))
            model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["big"], ["filled"]))
            model.graph.node.insert(1, helper.make_node("ReduceSum", ["filled"], ["zero"], keepdims=0))
            model.graph.node.insert(2, helper.make_node("Add", ["a", "zero"], ["a3"]))
            model.graph.node[3].input[0] = "a3"

        return change

    bomb = changed("memory-bomb", sized(2**34))
    yield Case(bomb.name, "onnx", bomb.data, quarantined=True)
    other = changed("other-names", lambda m: setattr(m.graph.input[0], "name", "c"))
    yield other


def _varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def _parts(data):
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _packed(header, numbers):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def safetensors_cases(good):
    plain = good["safetensors-tanh"].data
    header, numbers = _parts(plain)

    def changed(name, change):
        copy = json.loads(json.dumps(header))
        change(copy)
        return Case(f"safetensors-{name}", "safetensors", _packed(copy, numbers))

    def tensor(key, value):
        return lambda h: h["0.weight"].__setitem__(key, value)

    def told(key, value):
        return lambda h: h["__metadata__"].__setitem__(key, value)

    yield Case("safetensors-huge-header", "safetensors", struct.pack("<Q", 2**63) + plain[8:])
    yield Case("safetensors-header-beyond-the-end", "safetensors", struct.pack("<Q", len(plain)) + plain[8:])
    padded = _packed(json.dumps(header).encode() + b" " * 2**20, numbers)
    yield Case("safetensors-padded-header", "safetensors", padded)
    yield Case("safetensors-appended", "safetensors", plain + b"#!/bin/sh\nid\n")
    yield Case("safetensors-cut", "safetensors", plain[:-1])
    yield Case("safetensors-header-only", "safetensors", plain[:8])
    yield Case("safetensors-nested-header", "safetensors", _packed(b'{"a":' * 100_000, numbers))
    twice = json.dumps(header).encode()[:-1] + b',"0.bias":' + json.dumps(header["0.bias"]).encode() + b"}"
    yield Case("safetensors-key-twice", "safetensors", _packed(twice, numbers))
    yield Case("safetensors-nan-in-header", "safetensors", _packed(b'{"__metadata__": {"a": NaN}}', b""))
    yield changed("overlap", tensor("data_offsets", header["0.bias"]["data_offsets"]))
    yield changed("negative-offsets", tensor("data_offsets", [-64, 0]))
    yield changed("offsets-that-are-true", tensor("data_offsets", [False, True]))
    yield changed("overflow", tensor("shape", [2**62, 2**62, 16]))
    yield changed("objects", tensor("dtype", "O"))
    yield changed("more-keys", tensor("loader", "os.system"))
    yield changed("missing-tensor", lambda h: h.pop("0.weight"))
    yield changed("no-metadata", lambda h: h.pop("__metadata__"))
    yield changed("other-architecture", told("genesis.architecture", "os:system"))
    yield changed("architecture-by-path", told("genesis.architecture", "../../evil.py"))
    yield changed(
        "remote-code",
        lambda h: (
            h["__metadata__"].pop("genesis.architecture") and h["__metadata__"].update(auto_map="modeling.py")
        ),
    )
    yield changed(
        "odd-configuration", told("genesis.config", '{"layers": [2, 8, 1], "activation": "__import__"}')
    )
    yield changed(
        "configuration-too-large", told("genesis.config", json.dumps({"layers": [2] + [10**9] * 3 + [1]}))
    )


def skops_cases(canary, good):
    plain = good["skops-ridge"].data
    files = {
        info.filename: zipfile.ZipFile(io.BytesIO(plain)).read(info)
        for info in zipfile.ZipFile(io.BytesIO(plain)).infolist()
    }
    schema = json.loads(files["schema.json"])

    def case(name, changed=None, **more):
        content = {**files, **more} if changed is None else {**files, "schema.json": json.dumps(changed)}
        return Case(f"skops-{name}", "skops", zipped(content), dtype="float64")

    def node(loader, module, kind, content):
        return {"__loader__": loader, "__module__": module, "__class__": kind, "content": content}

    command = {
        "__class__": "str",
        "__module__": "builtins",
        "__loader__": "JsonNode",
        "content": json.dumps(f"touch {canary}"),
        "is_json": True,
    }
    arguments = node("TupleNode", "builtins", "tuple", [command])
    for name, evil in {
        "function": node("FunctionNode", "os", "system", arguments),
        "operator": {**node("OperatorFuncNode", "operator", "methodcaller", {}), "attrs": arguments},
        "partial": node(
            "PartialNode",
            "functools",
            "partial",
            {"func": node("FunctionNode", "os", "system", {}), "args": arguments},
        ),
        "method": node("MethodNode", "sklearn.linear_model._ridge", "Ridge", {"func": "fit", "obj": command}),
        "object": node("ObjectNode", "subprocess", "Popen", arguments),
        "type": node("TypeNode", "os", "system", {}),
        "disguised": node("JsonNode", "os", "system", json.dumps("id")),
        "reduce": {
            **node("ObjectNode", "sklearn.linear_model._ridge", "Ridge", {}),
            "__reduce__": {"args": arguments},
        },
        "unknown-loader": node("EvalNode", "builtins", "dict", {}),
        "no-loader": {"__module__": "os", "__class__": "system", "content": {}},
    }.items():
        tree = json.loads(json.dumps(schema))
        tree["content"]["content"]["memory"] = evil
        yield case(name, tree)
    yield case("no-tree", {"protocol": 2})
    yield case("nested", changed=None, **{"schema.json": b'{"__loader__":' * 5000})
    first = next(name for name in files if name != "schema.json")
    objects = io.BytesIO()
    np.save(objects, np.array([Call(Path.write_text, canary, "run")], dtype=object), allow_pickle=True)
    yield case("array-of-objects", **{first: objects.getvalue()})
    yield case("array-cut", **{first: files[first][:-1]})
    yield case(
        "array-claims-too-much",
        **{first: files[first].replace(b"'shape': (2,)", b"'shape':(2000,)", 1)[:120]},
    )
    yield case("path-traversal", **{"../../evil.npy": b"x"})
    yield case("absolute-path", **{"/etc/evil.npy": b"x"})
    yield case("python-file", **{"sitecustomize.py": b"import os"})
    yield case("unused-file", **{"123.npy": files[first]})
    link = io.BytesIO()
    with zipfile.ZipFile(link, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            if name == first:
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                content = b"/etc/passwd"  # noqa: PLW2901
            archive.writestr(info, content)
    yield Case("skops-symlink", "skops", link.getvalue(), dtype="float64")
    yield case("decompression-bomb", **{"5.npy": b"\0" * (300 * 2**20)})
    lying = bytearray(zipped({**files, "5.npy": b"\0" * 2**20}))
    directory = lying.rfind(b"5.npy")
    struct.pack_into("<I", lying, directory - 46 + 24, 100)  # says 100 bytes when unpacked
    yield Case("skops-size-that-lies", "skops", bytes(lying), dtype="float64")
    yield Case("skops-in-front", "skops", b"#!/bin/sh\nid\n" + plain, dtype="float64")
    yield Case("skops-behind", "skops", plain + b"\0" * 40, dtype="float64")
    commented = bytearray(plain + b"comment")
    struct.pack_into("<H", commented, len(plain) - 2, 7)
    yield Case("skops-comment", "skops", bytes(commented), dtype="float64")
    renamed = bytearray(plain)
    renamed[renamed.find(first.encode())] = ord("9") if first[0] != "9" else ord("8")
    yield Case("skops-two-names", "skops", bytes(renamed), dtype="float64")
    yield Case("skops-tree-out-of-bounds", "skops", _tree(good, 10**6), dtype="float64", quarantined=True)
    yield Case("skops-tree-of-other-columns", "skops", _column(10**9), dtype="float64", quarantined=True)
    yield Case("skops-tree-without-end", "skops", _tree(good, 0), dtype="float64", quarantined=True)


def _tree(good, child):
    """Change where the branches of a decision tree lead."""
    files = {}
    with zipfile.ZipFile(io.BytesIO(good["skops-tree"].data)) as archive:
        for info in archive.infolist():
            content = archive.read(info)
            if info.filename.endswith(".npy"):
                array = np.load(io.BytesIO(content), allow_pickle=False)
                if array.dtype.names and "left_child" in array.dtype.names:
                    array["left_child"][array["left_child"] > 0] = child
                    out = io.BytesIO()
                    np.save(out, array, allow_pickle=False)
                    content = out.getvalue()
            files[info.filename] = content
    return zipped(files)


def _column(column):
    """Let a decision tree look at a column that nobody will give it, and say itself that it has as many."""
    from sklearn.tree import DecisionTreeRegressor
    from sklearn.tree._tree import Tree
    from skops import io as skops_io

    model = DecisionTreeRegressor(max_depth=2).fit(np.array([[0.0], [1.0], [2.0], [3.0]]), np.arange(4.0))
    state = model.tree_.__getstate__()
    nodes = state["nodes"].copy()
    nodes["feature"][nodes["right_child"][0]] = column
    tree = Tree(2 * column, np.array([1], dtype=np.intp), 1)
    tree.__setstate__({**state, "nodes": nodes})
    model.tree_ = tree
    return skops_io.dumps(model)


def table_cases():
    for name, data in {
        "formula-injection": b"a,b,y\n=cmd|' /C calc'!A0,1,2\n1,2,3\n",
        "not-a-number": b"a,b,y\n0,0,nan\n0,1,1\n1,0,1\n1,1,1\n",
        "infinite": b"a,b,y\n0,0,1e999\n0,1,1\n1,0,1\n1,1,1\n",
        "ragged": b"a,b,y\n0,0\n1,1,1\n",
        "not-a-grid": b"a,b,y\n0,0,1\n0,1,1\n1,0,1\n",
        "row-twice": b"a,b,y\n0,0,1\n0,0,2\n0,1,1\n1,0,1\n",
        "binary": b"a,b,y\n\xff\xfe,0,1\n",
        "nul": b"a,b,y\n0,0,1\0\n",
        "names-that-are-code": b"a,__import__('os'),y\n0,0,1\n1,1,1\n",
        "name-twice": b"a,a,y\n0,0,1\n1,1,1\n",
        "digits-of-others": "a,b,y\n٣,0,1\n1,1,1\n".encode(),
        "other-columns": b"p,q,y\n0,0,1\n0,1,1\n1,0,1\n1,1,1\n",
    }.items():
        yield Case(f"table-{name}", "table", data, dtype="float64")


def formula_cases(canary):
    evil = f"__import__('os').system('touch {canary}')"
    for name, text in {
        "import": evil,
        "attribute": "a.__class__.__mro__",
        "index": "a[0] + b",
        "call": f"open({str(canary)!r}, 'w')",
        "lambda": "(lambda: a + b)()",
        "walrus": "(c := a) + b",
        "format": "f'{a}{b}'",
        "comprehension": "sum([x for x in (a, b)])",
        "keyword": "max(a, b, key=abs)",
        "star": "max(*a, b)",
        "text": "'a' + b",
        "deep": "-" * 60 + "a + b",
        "long": " + ".join(["a", *["b"] * 5000]),
        "condition": "a < b",
        "walks-away": "a + b; import os",
    }.items():
        yield Case(
            f"formula-{name}", "formula", json.dumps({"formulas": {"y": text}}).encode(), dtype="float64"
        )
    for name, data in {
        "more-keys": b'{"formulas": {"y": "a + b"}, "python": "import os"}',
        "key-twice": b'{"formulas": {"y": "a + b"}, "formulas": {"y": "a"}}',
        "nan": b'{"formulas": {"y": "a + b + c"}, "constants": {"c": NaN}}',
        "nested": b'{"formulas":' * 100_000,
        "appended": b'{"formulas": {"y": "a + b"}} import os',
        "no-input": b'{"formulas": {"y": "1 + 1"}}',
        "oversize": b'{"formulas": {"y": "a + b"}' + b" " * 70_000 + b"}",
        "wide-text": '{"formulas": {"y": "a + b"}}'.encode("utf-16"),
    }.items():
        yield Case(f"formula-{name}", "formula", data, dtype="float64")
