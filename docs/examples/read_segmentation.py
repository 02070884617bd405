"""SEG → names and masks of the vertebrae, with highdicom.

Prints: L4 with its pixels, among the other levels.
"""

import subprocess
import sys
from pathlib import Path

import highdicom as hd

out = Path(sys.argv[1])
film = "demo/films/2-lumbar-lateral.dcm"
subprocess.run([sys.executable, "-m", "spinepacs", "process", film, "--out", str(out)], check=True)

segmentation = hd.seg.segread(out / "2-lumbar-lateral.seg.dcm")
# One frame for each segment, in the rows and columns of the film.
masks = segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns)
for frame, mask in zip(segmentation.PerFrameFunctionalGroupsSequence, masks, strict=True):
    number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
    print(segmentation.get_segment_description(number).SegmentLabel, f"{int(mask.sum())} px")
