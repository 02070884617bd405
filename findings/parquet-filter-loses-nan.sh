#!/usr/bin/env bash
# The same filter on the same table: with a Parquet file behind it, rows with NaN are gone
#
# Versions   pyarrow 26.0.1 (polars 2.1.0 reads the same file as the control).
# Behaviour  Parquet's minimum and maximum of a column leave NaN out. pyarrow uses them to skip row groups, and takes
#            "minimum = maximum = 11.5" as "every value is 11.5". A condition that is true for NaN (x != 11.5,
#            not x <= 11.5) is thereby answered with no rows at all, while the table in memory, and the file read first
#            and filtered afterwards, answer with the NaN row.
# Seen       two rows, 11.5 and NaN; `height_mm != 11.5`: in memory film B, read_table(filters=...) nothing, polars B.
# Meaning    "all films whose height is not ..." silently misses exactly the films whose measure is not a number, and
#            only when the rest of the row group is constant, as in small files of one film each. Write null, never
#            NaN.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 polars==2.1.0
cd "$work"
"$work/venv/bin/python" - <<'END'
import sys

import polars
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

table = pa.table({"film": ["A", "B"], "height_mm": [11.5, float("nan")]})
pq.write_table(table, "heights.parquet")
height = ds.field("height_mm")
statistics = pq.ParquetFile("heights.parquet").metadata.row_group(0).column(1).statistics
print("statistics: min", statistics.min, "max", statistics.max)
as_stated = True
for name, condition in {"height != 11.5": height != 11.5, "not height <= 11.5": ~(height <= 11.5)}.items():
    memory = table.filter(condition)["film"].to_pylist()
    after = pq.read_table("heights.parquet").filter(condition)["film"].to_pylist()
    pushed = pq.read_table("heights.parquet", filters=condition)["film"].to_pylist()
    print(f"{name}: in memory {memory}, read then filtered {after}, filtered while reading {pushed}")
    as_stated &= (memory, after, pushed) == (["B"], ["B"], [])
control = polars.scan_parquet("heights.parquet").filter(polars.col("height_mm") != 11.5).collect()["film"].to_list()
print("polars, filtered while reading:", control)
sys.exit(0 if as_stated and control == ["B"] else 1)
END
