"""Run the benchmarks named on the command line, or all."""

from __future__ import annotations

import sys

from tests.benchmarks import model, output, pipeline, process, receive, throughput

BENCHMARKS = {
    "model": model.main,
    "receive": receive.main,
    "pipeline": pipeline.main,
    "output": output.main,
    "throughput": throughput.main,
    "process": process.main,
}
ON_REQUEST = {"process-memory": process.memory, "process-memory-quick": process.memory_quick}
"""Those that take long."""

if __name__ == "__main__":
    names = sys.argv[1:] or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS | ON_REQUEST):
        sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS | ON_REQUEST)}")
    for name in names:
        (BENCHMARKS | ON_REQUEST)[name]()
