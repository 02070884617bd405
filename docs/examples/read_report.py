"""SR → disc heights with their unit, with pydicom alone: a TID 1500 report is a tree of content items.

Prints: L4/L5 and its middle height in mm, among the other discs.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pydicom import Dataset, dcmread

out = Path(sys.argv[1])
film = "demo/films/2-lumbar-lateral.dcm"
subprocess.run([sys.executable, "-m", "spinepacs", "process", film, "--out", str(out)], check=True)


def items(node: Dataset, name: str) -> Iterator[Dataset]:
    """Content items below a node whose concept name has this meaning."""
    for item in node.get("ContentSequence", []):
        if item.ConceptNameCodeSequence[0].CodeMeaning == name:
            yield item


report = dcmread(out / "2-lumbar-lateral.sr.dcm")
for measurements in items(report, "Imaging Measurements"):
    for group in items(measurements, "Measurement Group"):
        (place,) = items(group, "Tracking Identifier")
        # The plain "Disc height" without a modifier comes first: the middle one.
        for height in list(items(group, "Disc height"))[:1]:
            (value,) = height.MeasuredValueSequence
            unit = value.MeasurementUnitsCodeSequence[0].CodeValue
            print(place.TextValue, value.NumericValue, unit)
