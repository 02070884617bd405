#!/bin/sh
# A folder of films becomes SEG, SR, pictures and tables: no daemon, no database.
# Prints: 4 read, 0 refused, 0 failed
set -eu
out=$1

spinepacs process demo/films --out "$out"
ls "$out"
# Stage of each disc of the lumbar film, by whatever reads CSV.
grep 'lumbar.*disc_height_loss' "$out/findings.csv"
