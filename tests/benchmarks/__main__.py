"""Run the benchmarks named on the command line, or all."""

from __future__ import annotations

import sys
from itertools import takewhile

from tests.benchmarks import growth, model, output, pipeline, process, receive, throughput

BENCHMARKS = {
    "model": model.main,
    "receive": receive.main,
    "pipeline": pipeline.main,
    "output": output.main,
    "growth": growth.main,
    "throughput": throughput.main,
    "process": process.main,
}
ON_REQUEST = {"process-memory": process.memory, "process-memory-quick": process.memory_quick}
"""Those that take long."""

if __name__ == "__main__":
    names = list(takewhile(lambda name: not name.startswith("--"), sys.argv[1:])) or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS | ON_REQUEST):
        sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS | ON_REQUEST)}")
    for name in names:
        (BENCHMARKS | ON_REQUEST)[name]()
