#!/bin/sh
# Other thresholds for the grades: a copy of config/grading.toml with a name of its own, so that its readings stay apart.
# Prints: the stage of L3/L4 by spinepacs-v1 (3) and by strict (4).
set -eu
out=$1
mkdir -p "$out"

sed -e 's/^name = .*/name = "strict"/' -e 's/^stage_from = .*/stage_from = [0.10, 0.20, 0.40, 0.55]/' \
  config/grading.toml >"$out/strict.toml"
cat >"$out/spinepacs.toml" <<TOML
[model]
policy = "$out/strict.toml"
TOML
spinepacs process demo/films/2-lumbar-lateral.dcm --out "$out/usual"
spinepacs process demo/films/2-lumbar-lateral.dcm --out "$out/strict" --config "$out/spinepacs.toml"
# The name of the policy stands in each row: readings of two policies are never mixed up.
for policy in usual strict; do
  grep 'disc_height_loss,L3/L4' "$out/$policy/findings.csv"
done
