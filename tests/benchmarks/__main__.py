"""Run the benchmarks named on the command line, or all that are no matter of hours."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path

from tests.benchmarks import (
    decode,
    engine,
    growth,
    model,
    networks,
    output,
    pages,
    pipeline,
    process,
    questions,
    receive,
    sizes,
    throughput,
    waiting,
)

BENCHMARKS = {
    "model": model.main,
    "networks": networks.main,
    "receive": receive.main,
    "pipeline": pipeline.main,
    "decode": decode.main,
    "output": output.main,
    "throughput": throughput.main,
    "waiting": waiting.main,
    "process": process.main,
}
ON_REQUEST = {
    "growth": growth.main,
    "engine": engine.main,
    "engine-backlog": engine.behind,
    "engine-urgent": engine.urgent,
    "engine-sleeping": engine.sleeping,
    "engine-computing": engine.computing,
    "questions": questions.main,
    "sizes": sizes.main,
    "pages": pages.main,
    "process-memory": process.memory,
    "process-memory-quick": process.memory_quick,
}
"""Those that take long."""

if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    known = BENCHMARKS | ON_REQUEST
    options.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}; default: {', '.join(BENCHMARKS)}"
    )
    options.add_argument(
        "--beside", type=Path, help="another checkout of spinepacs, run in turns with this one"
    )
    chosen = options.parse_args()
    if unknown := set(chosen.names) - set(known):
        options.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    for name in chosen.names or BENCHMARKS:
        benchmark = known[name]
        compares = chosen.beside and "beside" in inspect.signature(benchmark).parameters
        benchmark(chosen.beside) if compares else benchmark()
