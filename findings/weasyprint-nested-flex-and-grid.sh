#!/usr/bin/env bash
# WeasyPrint lays out what stands in nested flex boxes and grids again and again: each level multiplies the time
#
# Versions   WeasyPrint 70.0 (Pango of the system: `apt install libpango-1.0-0 libpangoft2-1.0-0`).
# Behaviour  a flex container lays its children out to learn their sizes, then once more in place, and so does a grid.
#            Nested, the factors multiply: a table of 40 rows is laid out once, then several, then dozens of times.
# Seen       time relative to the bare table: within a flex box 2.2, flex and grid 11, flex, grid and flex 24 times or
#            so. The page of a spine with 23 discs (flex > grid > flex > grid > table): 26 s; as CSS tables 1.8 s.
# Meaning    a page that a browser prints at once may take a worker half a minute. Give WeasyPrint a style sheet of its
#            own, with display: table in place of flex and grid around tables.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check weasyprint==70.0
"$work/venv/bin/python" - <<'END'
import sys
import time

try:
    from weasyprint import HTML
except OSError as error:
    print("no Pango here:", error)
    sys.exit(77)

cell = "<td>2.0 <small>± 0.3</small></td>"
table = "<table>" + f"<tr>{cell * 8}</tr>" * 40 + "</table>"
around = ("display: flex; flex-direction: column", "display: grid", "display: flex; flex-direction: column")


def seconds(depth):
    page = table
    for style in around[:depth][::-1]:
        page = f'<div style="{style}"><p>words</p>{page}</div>'
    began = time.process_time()
    HTML(string=page).render()
    return time.process_time() - began


seconds(0)
taken = [seconds(depth) for depth in range(4)]
for depth, each in enumerate(taken):
    print(f"{depth} containers around one table: {each:.2f} s, {each / taken[0]:.1f} times")
sys.exit(0 if taken[3] > 4 * taken[0] and taken[1] < taken[2] < taken[3] else 1)
END
