#!/usr/bin/env bash
# ONNX Runtime's only_execute_path_to_fetches is accepted and does nothing: nodes that no asked answer needs run all the same
#
# Versions   onnxruntime 1.32.0, onnx 1.23.2 to make the network.
# Behaviour  RunOptions.only_execute_path_to_fetches is there to be set, and says to run only what leads to the answers
#            that are asked for. With it or without, every node of the network is run, and nothing is said.
# Seen       a network of two answers, one of them after a product of matrices; asked for the other one alone, the
#            profile names both nodes, either way.
# Meaning    a head that is not always wanted is paid for at each run, whatever is asked for: it has to be a file of its
#            own, or be cut off before the session is opened. What is asked for only saves the copy of the answer.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
cd "$work"
"$work/venv/bin/python" - <<'END'
import json
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

square = [300, 300]
value = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, square) for name in ("x", "wanted", "unwanted")}
nodes = [
    helper.make_node("Neg", ["x"], ["wanted"], name="wanted"),
    helper.make_node("MatMul", ["x", "x"], ["unwanted"], name="unwanted"),
]
graph = helper.make_graph(nodes, "two", [value["x"]], [value["wanted"], value["unwanted"]])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model, full_check=True)


def executed(path_only):
    """Names of the nodes that a run for one answer executes."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    run = onnxruntime.RunOptions()
    run.only_execute_path_to_fetches = path_only
    session.run(["wanted"], {"x": np.ones(square, np.float32)}, run)
    with open(session.end_profiling(), encoding="utf-8") as file:
        events = json.load(file)
    return sorted({event["name"].split("_kernel")[0] for event in events if event.get("cat") == "Node"})


print(f"onnxruntime {onnxruntime.__version__}")
found = {path_only: executed(path_only) for path_only in (False, True)}
for path_only, names in found.items():
    print(f"only_execute_path_to_fetches={path_only}: {names}")
sys.exit(0 if found[True] == ["unwanted", "wanted"] == found[False] else 1)
END
