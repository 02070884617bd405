"""The fuzzer of reading: mutants, one after the other, through everything that ``spinepacs process`` does."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.child import FOUND, Reader, Report
from tests.fuzz.mutate import mutant


@dataclass
class Tally:
    """What a run of the fuzzer saw."""

    executions: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    peak_mb: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    found: list[tuple[Path, Report]] = field(default_factory=list)
    """Inputs that showed a fault, saved, with what they did."""

    def add(self, report: Report) -> None:
        """Count one file."""
        self.executions += 1
        self.slowest_s = max(self.slowest_s, report.seconds)
        self.peak_mb = max(self.peak_mb, report.peak_mb)
        self.outcomes[report.outcome] += 1

    def __str__(self) -> str:
        faults = {outcome: self.outcomes[outcome] for outcome in FOUND}
        return (
            f"{self.executions} executions in {self.seconds:.0f} s: "
            + ", ".join(f"{outcome} {count}" for outcome, count in faults.items())
            + f"; most memory for one file {self.peak_mb:.0f} MB, slowest {self.slowest_s:.1f} s\n"
            + ", ".join(f"{outcome} {count}" for outcome, count in self.outcomes.most_common())
        )


def fuzz(
    reader: Reader,
    saved: Path,
    seed: int | str,
    *,
    seconds: float,
    most: int = 1 << 60,
    most_mb: float = 500.0,
    tell: Callable[[str], None] = lambda line: None,
) -> Tally:
    """Read mutants until the time or the number is over; save those that show a fault.

    Parameters
    ----------
    reader
        The child, and the folder for its files.
    saved
        Where inputs that show a fault are kept.
    seed
        Mutant ``number`` of this seed is always the same file.
    most_mb
        Memory for one file (MB) beyond which it is called a fault.
    """
    reader.start()
    tally, started = Tally(), time.monotonic()
    while tally.executions < most and time.monotonic() - started < seconds:
        made = mutant(seed, tally.executions)
        path = reader.folder / f"film{Path(made.name).suffix}"
        path.write_bytes(made.data)
        report = reader.read(path)
        if report.peak_mb > most_mb:
            report = Report("MEMORY", f"{report.peak_mb:.0f} MB", report.seconds, report.peak_mb)
        if report.outcome in (*FOUND, "NOT_ENCODED"):
            saved.mkdir(parents=True, exist_ok=True)
            kept = saved / f"{report.outcome}-{seed}-{tally.executions}{path.suffix}"
            kept.write_bytes(made.data)
            tally.found.append((kept, report))
            tell(f"{kept}: {made.name}: {report}")
        tally.add(report)
    tally.seconds = time.monotonic() - started
    return tally
