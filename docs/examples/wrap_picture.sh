#!/bin/sh
# A JPEG or PNG has no header: say what it shows and, if you know it, how large a pixel is. The film can be stored in a PACS.
# Prints: 1 read, 0 refused, 0 failed
set -eu
out=$1
mkdir -p "$out"

spinepacs process demo/films/2-lumbar-lateral.dcm --out "$out/first" # for a picture to begin with
spinepacs wrap "$out/first/2-lumbar-lateral.overlay.jpg" --out "$out/film.dcm" \
  --spacing 0.15 --body-part LSPINE --view LATERAL
spinepacs process "$out/film.dcm" --out "$out/results"
