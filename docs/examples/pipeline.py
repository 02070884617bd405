"""The pipeline in your own Python: one film → levels, heights, signs.

Prints: L4/L5 and its middle height with its 95 % interval, among the other discs.
"""

import sys
from pathlib import Path

from spinepacs.domain.measures import Quantity
from spinepacs.pipeline import Pipeline
from spinepacs.settings.settings import Settings

out = Path(sys.argv[1])
settings = Settings()  # the shipped model and policy
pipeline = Pipeline.open(settings.model, settings.output, threads=1)
result = pipeline.read_film(Path("demo/films/2-lumbar-lateral.dcm"))

reading = result.reading
assert reading.spine is not None, reading.refusal
print("levels:", *(vertebra.level.name for vertebra in reading.spine.vertebrae))
for measure in reading.measures:
    if measure.quantity is Quantity.DISC_HEIGHT_MIDDLE:
        interval = 1.96 * (measure.uncertainty or float("nan"))
        print(measure.place.name, f"{measure.value:.1f} ± {interval:.1f} {measure.unit}")
for finding in reading.findings:
    if finding.published_grade:
        print(finding.sign, finding.place.name, "grade", finding.published_grade)

out.mkdir(parents=True, exist_ok=True)
for made in result.objects:
    (out / f"{made.kind.value.lower()}.dcm").write_bytes(made.part10)
