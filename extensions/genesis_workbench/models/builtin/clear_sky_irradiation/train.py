"""Train the clear-sky surrogate that comes with the workbench, and write model.onnx and record.json beside this file.

    python extensions/genesis_workbench/models/builtin/clear_sky_irradiation/train.py

Needs pvlib, scikit-learn, onnx and onnxruntime; takes about two minutes on one core. Its numbers are computed, not
measured: pvlib's model of Ineichen and Perez (2002) for the fifteenth of each month, summed over half hours.

The network learns the ratio of the irradiation on the ground to that outside the atmosphere, from features that the
graph computes itself: so the geometry of the sun is exact and only the atmosphere is learnt.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pvlib
import sklearn
from onnx import TensorProto, helper, numpy_helper
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

HERE = Path(__file__).parent
SEED = 0
TRAINED, HELD_OUT = 6000, 2000
NAMES = ("latitude_deg", "month", "linke_turbidity", "altitude_m")
LOW, HIGH = np.array([-66.0, 1.0, 1.0, 0.0]), np.array([66.0, 12.0, 8.0, 4500.0])
UNITS = ("degree", "", "", "m")
MEANING = (
    "Latitude, north positive",
    "Month of the year, a whole number; its fifteenth day is meant",
    "Linke turbidity at air mass 2",
    "Altitude above sea level",
)
OUTPUT, OUTPUT_UNIT = "clear_sky_irradiation", "kW*h/m**2/day"
DAY_STEP, DAY_START = 30.42, -15.42  # day of the year of the fifteenth: about 30.42 month - 15.42
SOLAR_CONSTANT_KW_M2 = 1.3661
STRETCH = (
    10.0  # the ratio is learnt ten times as large: L-BFGS stops too early on small losses (8 times the error)
)


def simulate(point: np.ndarray) -> float:
    """Return pvlib's daily clear-sky global horizontal irradiation in kWh/m²/day."""
    latitude, month, turbidity, altitude_m = (float(each) for each in point)
    times = pd.date_range(f"2025-{int(month):02d}-15 00:15", periods=48, freq="30min", tz="UTC")
    pressure = pvlib.atmosphere.alt2pres(altitude_m)
    sun = pvlib.solarposition.get_solarposition(times, latitude, 0.0, altitude=altitude_m, pressure=pressure)
    relative = pvlib.atmosphere.get_relative_airmass(sun["apparent_zenith"])
    absolute = pvlib.atmosphere.get_absolute_airmass(relative, pressure)
    extra = pvlib.irradiance.get_extra_radiation(times)
    sky = pvlib.clearsky.ineichen(sun["apparent_zenith"], absolute, turbidity, altitude_m, extra)
    return float(sky["ghi"].sum() * 0.5 / 1000)


def sample(count: int, rng: np.random.Generator, edge: float) -> np.ndarray:
    """Return points over the whole domain; each coordinate is on its edge with probability `edge`."""
    points = LOW + rng.random((count, 4)) * (HIGH - LOW)
    points[:, 1] = rng.integers(1, 13, count)
    edges = np.where(rng.random((count, 4)) < 0.5, LOW, HIGH)
    on_edge = rng.random((count, 4)) < edge
    on_edge[:, 1] = False
    return np.where(on_edge, edges, points)


def features(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the features and the irradiation outside the atmosphere; the graph computes the same."""
    latitude, month, turbidity, altitude_m = points.T
    phi = np.radians(latitude)
    angle = (month * DAY_STEP + DAY_START) * (2 * np.pi / 365)
    declination = 0.409 * np.sin(angle - 1.39)
    distance = 1 + 0.033 * np.cos(angle)
    product = np.clip(-np.tan(phi) * np.tan(declination), -1, 1)
    sunset = np.arccos(product)
    beside = np.cos(phi) * np.cos(declination)
    along = np.sin(phi) * np.sin(declination)
    outside = (24 / np.pi * SOLAR_CONSTANT_KW_M2) * distance * (beside * np.sin(sunset) + sunset * along)
    columns = [np.sin(phi), np.sin(angle), np.cos(angle), sunset, beside + along, turbidity, altitude_m]
    return np.stack(columns, axis=1), outside


def graph(weights: list[np.ndarray], biases: list[np.ndarray], mean: np.ndarray, scale: np.ndarray) -> Any:
    """Build the ONNX model: features, network, and the product with the irradiation outside the atmosphere."""
    nodes: list[Any] = []
    constants: list[Any] = []

    def number(value: Any) -> str:
        name = f"c{len(constants)}"
        constants.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))
        return name

    def node(kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        name = name or f"n{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    latitude, month, turbidity, altitude_m = NAMES
    phi = node("Mul", latitude, number(np.pi / 180))
    day = node("Add", node("Mul", month, number(DAY_STEP)), number(DAY_START))
    angle = node("Mul", day, number(2 * np.pi / 365))
    declination = node("Mul", number(0.409), node("Sin", node("Add", angle, number(-1.39))))
    distance = node("Add", number(1), node("Mul", number(0.033), node("Cos", angle)))
    product = node("Neg", node("Mul", node("Tan", phi), node("Tan", declination)))
    sunset = node("Acos", node("Clip", product, number(-1), number(1)))
    beside = node("Mul", node("Cos", phi), node("Cos", declination))
    along = node("Mul", node("Sin", phi), node("Sin", declination))
    day_sum = node("Add", node("Mul", beside, node("Sin", sunset)), node("Mul", sunset, along))
    outside = node("Mul", node("Mul", number(24 / np.pi * SOLAR_CONSTANT_KW_M2), distance), day_sum)

    noon = node("Add", beside, along)
    axis = numpy_helper.from_array(np.array([1], dtype=np.int64), "axis")
    columns = [node("Sin", phi), node("Sin", angle), node("Cos", angle), sunset, noon, turbidity, altitude_m]
    matrix = node("Concat", *(node("Unsqueeze", column, "axis") for column in columns), axis=1)
    hidden = node("Div", node("Sub", matrix, number(mean)), number(scale))
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        hidden = node("Add", node("MatMul", hidden, number(weight)), number(bias))
        if i < len(weights) - 1:
            hidden = node("Tanh", hidden)
    ratio = node("Mul", node("Squeeze", hidden, "axis"), number(1 / STRETCH))
    node("Max", node("Mul", ratio, outside), number(0), name=OUTPUT)

    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["samples"]) for name in NAMES]
    result = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["samples"])
    made = helper.make_graph(nodes, "clear_sky_irradiation", tensors, [result], [*constants, axis])
    model = helper.make_model(
        made, opset_imports=[helper.make_opsetid("", 17)], producer_name="genesis-workbench"
    )
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def main() -> None:
    """Train, export, test what was exported, and write both files."""
    # pvlib 0.16 on pandas 3.1 warns of DatetimeIndex.dayofyear: gone with pvlib's next release.
    warnings.filterwarnings("ignore", message="DatetimeIndex.dayofyear is deprecated")
    rng = np.random.default_rng(SEED)
    train, test = sample(TRAINED, rng, 0.08), sample(HELD_OUT, rng, 0.0)
    y_train = np.array([simulate(point) for point in train])
    y_test = np.array([simulate(point) for point in test])

    x, outside = features(train)
    mean, scale = x.mean(axis=0), x.std(axis=0)
    network = MLPRegressor(hidden_layer_sizes=(32, 32), activation="tanh", solver="lbfgs", alpha=1e-7, max_iter=4000, max_fun=10**6,
                           tol=1e-10, random_state=SEED)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # Weighted, so that what is minimised is the error of the irradiation, not that of the ratio.
        network.fit(
            (x - mean) / scale, STRETCH * y_train / outside, sample_weight=outside**2 / np.mean(outside**2)
        )

    data = graph(network.coefs_, network.intercepts_, mean, scale).SerializeToString(deterministic=True)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    answer = session.run(None, {name: test[:, i].astype(np.float32) for i, name in enumerate(NAMES)})[0]
    error = answer - y_test
    rmse, worst = float(np.sqrt(np.mean(error**2))), float(np.max(np.abs(error)))

    held_out = f"{HELD_OUT:,} points drawn at random over the whole domain, computed by pvlib {pvlib.__version__}, not used in training"
    probes = np.array([[0, 3, 3, 0], [35.5, 6, 2.5, 1800], [-33.9, 12, 3.2, 40], [52, 1, 2.8, 100], [66, 12, 2, 0],
                       [-66, 6, 6.5, 2500], [23.4, 7, 8, 4500], [-12, 9, 1, 0]], dtype=float)  # fmt: skip
    # Computed by scikit-learn in double precision, not by what is tested.
    x_probe, outside_probe = features(probes)
    expected = np.maximum(network.predict((x_probe - mean) / scale) * outside_probe / STRETCH, 0)

    def metric(name: str, value: float) -> dict[str, Any]:
        return {"name": name, "value": round(value, 5), "unit": OUTPUT_UNIT, "data": held_out}

    def spec(i: int) -> dict[str, Any]:
        return {"name": NAMES[i], "dtype": "float32", "shape": [None], "unit": UNITS[i], "low": LOW[i],
                "high": HIGH[i], "description": MEANING[i]}  # fmt: skip

    record = {
        "name": "clear-sky-irradiation",
        "format": "onnx",
        "file": "model.onnx",
        "signature": {
            "inputs": [spec(i) for i in range(4)],
            "outputs": [{"name": OUTPUT, "dtype": "float32", "shape": [None], "unit": OUTPUT_UNIT,
                         "description": "Daily global horizontal irradiation under a cloudless sky"}],
        },
        "card": {
            "title": "Clear-sky irradiation of a day (surrogate of pvlib's Ineichen-Perez model)",
            "what_for": "Daily sum of global horizontal irradiation under a cloudless sky for whole maps at once: an upper "
            "bound for solar yield, and a first look at where and when the sun shines strongest.",
            "trained_on": f"{TRAINED:,} points computed by a simulator, pvlib {pvlib.__version__} (Ineichen-Perez clear-sky "
            "model, NREL solar position, half-hour steps on the fifteenth of each month). Simulated values, no measurements.",
            "metrics": [metric("RMSE", rmse), metric("largest absolute error", worst)],
            "limits": "No clouds, no terrain, no horizon. Only the fifteenth of a whole month between 66 degrees south and "
            "north. It is no more right than the simulator it imitates, which has errors of its own against measurements.",
            "licence": "BSD-3-Clause",
            "label": "public",
            "groups": [],
            "contact": "The maintainers of the Genesis Workbench",
            "citation": "Ineichen, P., Perez, R. (2002). A new airmass independent formulation for the Linke turbidity "
            "coefficient. Solar Energy 73(3), 151-157. Computed with pvlib: Anderson, K., Hansen, C., Holmgren, W., Jensen, "
            "A., Mikofski, M., Driesse, A. (2023). pvlib python: 2023 project update. Journal of Open Source Software "
            "8(92), 5994.",
            "surrogate_of": "pvlib's Ineichen-Perez clear-sky model",
        },
        "self_test": {
            "inputs": {name: [float(v) for v in probes[:, i]] for i, name in enumerate(NAMES)},
            "outputs": {OUTPUT: [round(float(v), 6) for v in expected]},
            "rtol": 1e-4,
            "atol": 1e-3,
        },
        "lineage": {
            "code": "genesis_workbench/models/builtin/clear_sky_irradiation/train.py",
            "code_digest": "sha256:" + hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
            "seed": SEED,
            "training_points": TRAINED,
            "simulated": True,
            "simulator": f"pvlib {pvlib.__version__}",
            "libraries": {m.__name__: m.__version__ for m in (np, pd, sklearn, onnx, onnxruntime)},
        },
    }  # fmt: skip
    (HERE / "model.onnx").write_bytes(data)
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    (HERE / "record.json").write_text(text, encoding="utf-8")
    print(f"RMSE {rmse:.4f}, largest error {worst:.4f} {OUTPUT_UNIT}; {len(data):,} bytes")  # noqa: T201 - a script


if __name__ == "__main__":
    main()
