#!/bin/sh
# The daemon on a watched folder and SQLite: drop a film, wait, ask the database. Nothing listens, nothing is sent.
# Prints: one film read and a table of its discs.
set -eu
out=$1
mkdir -p "$out/incoming"

cat >"$out/spinepacs.toml" <<'TOML'
[storage]
spool = "spool"                            # relative to this file
database_url = "sqlite:///ledger.sqlite"
reserve_mb = 100
[listener]
enabled = false
[watch]
folder = "incoming"
settle_s = 0.5
scan_interval_s = 0.5
[assembly]
quiet_period_s = 0.5
[health]
enabled = false
TOML
spinepacs serve --config "$out/spinepacs.toml" 2>"$out/daemon.log" &
daemon=$!
trap 'kill $daemon; wait $daemon' EXIT

cp demo/films/2-lumbar-lateral.dcm "$out/incoming/"
until spinepacs findings --config "$out/spinepacs.toml" --csv 2>/dev/null | grep -q L4/L5; do
  kill -0 $daemon # it lives
  sleep 1
done
echo "one film read"
spinepacs findings --config "$out/spinepacs.toml"
spinepacs findings --config "$out/spinepacs.toml" --level L4/L5 --csv
spinepacs queue --config "$out/spinepacs.toml"
