"""Run the benchmarks named on the command line, or all; ``--beside CHECKOUT`` compares where a benchmark can."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path

from tests.benchmarks import decode, model, output, pipeline, receive, throughput

BENCHMARKS = {
    "model": model.main,
    "receive": receive.main,
    "pipeline": pipeline.main,
    "decode": decode.main,
    "output": output.main,
    "throughput": throughput.main,
}

if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    options.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    options.add_argument(
        "--beside", type=Path, help="another checkout of spinepacs, run in turns with this one"
    )
    chosen = options.parse_args()
    if unknown := set(chosen.names) - set(BENCHMARKS):
        options.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    for name in chosen.names or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        compares = chosen.beside and "beside" in inspect.signature(benchmark).parameters
        benchmark(chosen.beside) if compares else benchmark()
