#!/usr/bin/env bash
# ONNX Runtime's exact int8 (session.x64quantprecision) slows a processor down that is exact without it
#
# Versions   onnxruntime 1.32.0, onnx 1.23.2 to make the network.
# Behaviour  without VNNI, x86 sums u8 x s8 in 16 bits, which overflows; the option has such products computed as u8 x u8,
#            exact and slower. On a processor with VNNI it is said to change nothing. There it rewrites the weights to
#            uint8 all the same, if any of them is above 64: answers stay as they are, and the network takes longer.
#            Weights of 7 bits (reduce_range) are left alone, so that a network made so hides it.
# Seen       AMD EPYC with avx512_vnni and avx_vnni: kernels UINT8 with the option, INT8 without; the same answers to
#            the last bit; 1.7 to 2.5 times the processor time for these convolutions, 1.6 times for a whole YOLO11-seg.
# Meaning    whoever sets the option for all machines, to be safe, loses what int8 was taken for, and measures that int8
#            brings nothing. Set it only where /proc/cpuinfo names no avx512_vnni, avx_vnni or amx_int8.
# Where      needs such a processor: 77 on another one.
set -euo pipefail
if ! grep -qE 'avx512_vnni|avx_vnni' /proc/cpuinfo; then
  echo "this processor has no VNNI: the option is right here, nothing to show"
  exit 77
fi
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
cd "$work"
"$work/venv/bin/python" - <<'END'
import sys
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

CHANNELS, LAYERS = 64, 6
random = np.random.default_rng(0)
picture = random.standard_normal((1, CHANNELS, 80, 80)).astype(np.float32)


def network(largest):
    """Convolutions in QDQ form, one after the other, with weights up to ``largest``."""
    held = {"step": np.float32(1 / (largest * CHANNELS)), "scale": np.float32(0.03), "middle": np.uint8(128)}
    nodes, name = [], "picture"
    for layer in range(LAYERS):
        shape = (CHANNELS, CHANNELS, 3, 3)
        held[f"weights{layer}"] = random.integers(-largest, largest + 1, shape).astype(np.int8)
        for kind, inputs, output in (
            ("QuantizeLinear", [name, "scale", "middle"], f"q{layer}"),
            ("DequantizeLinear", [f"q{layer}", "scale", "middle"], f"d{layer}"),
            ("DequantizeLinear", [f"weights{layer}", "step"], f"k{layer}"),
            ("Conv", [f"d{layer}", f"k{layer}"], f"c{layer}"),
        ):
            more = {"pads": [1, 1, 1, 1]} if kind == "Conv" else {}
            nodes.append(helper.make_node(kind, inputs, [output], **more))
        name = f"c{layer}"
    nodes += [
        helper.make_node("QuantizeLinear", [name, "scale", "middle"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "middle"], ["answer"]),
    ]
    ends = [helper.make_tensor_value_info(one, TensorProto.FLOAT, picture.shape) for one in ("picture", "answer")]
    constants = [numpy_helper.from_array(np.asarray(value), one) for one, value in held.items()]
    graph = helper.make_graph(nodes, "convolutions", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def tried(model, exact):
    """Types of the kernels that are run, the answer, and milliseconds of processor time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = "optimised.onnx"
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    graph = onnx.load("optimised.onnx").graph
    held = {one.name: one.data_type for one in graph.initializer}
    kinds = {
        TensorProto.DataType.Name(held[node.input[3]]) for node in graph.node if node.op_type == "QLinearConv"
    }
    times = []
    for _ in range(15):
        start = time.process_time()
        (answer,) = session.run(None, {"picture": picture})
        times.append(1000 * (time.process_time() - start))
    return kinds, answer, float(np.median(times))


print(f"onnxruntime {onnxruntime.__version__}")
seen = {}
for bits, largest in ((8, 127), (7, 64)):
    model = network(largest)
    for exact in (False, True):
        kinds, answer, ms = seen[bits, exact] = tried(model, exact)
        print(f"weights of {bits} bits, {'with' if exact else 'without'} the option: {sorted(kinds)}, {ms:.1f} ms")
same = [bool((seen[bits, False][1] == seen[bits, True][1]).all()) for bits in (8, 7)]
print("answers the same:", same)
kinds = [sorted(seen[key][0]) for key in ((8, False), (8, True), (7, False), (7, True))]
sys.exit(0 if kinds == [["INT8"], ["UINT8"], ["INT8"], ["INT8"]] and all(same) else 1)
END
