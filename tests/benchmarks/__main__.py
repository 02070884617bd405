"""Run the benchmarks named on the command line, or all."""

from __future__ import annotations

import sys
from itertools import takewhile

from tests.benchmarks import growth, model, output, pipeline, receive, throughput

BENCHMARKS = {
    "model": model.main,
    "receive": receive.main,
    "pipeline": pipeline.main,
    "output": output.main,
    "growth": growth.main,
    "throughput": throughput.main,
}

if __name__ == "__main__":
    names = list(takewhile(lambda name: not name.startswith("--"), sys.argv[1:])) or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    for name in names:
        BENCHMARKS[name]()
