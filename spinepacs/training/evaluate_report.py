"""Write what an evaluation found: JSON, one CSV of films and one of bodies, and a short table on the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from spinepacs.training.dataset import Film
    from spinepacs.training.evaluate import Conditions
    from spinepacs.training.metrics import FilmResult

_SHOWN = {
    "mask_map50_agnostic": "mask mAP50, one class",
    "mask_map50_95_agnostic": "mask mAP50-95, one class",
    "box_map50_agnostic": "box mAP50, one class",
    "box_map50_95_agnostic": "box mAP50-95, one class",
    "mask_map50_by_level": "mask mAP50, by level",
    "mask_map50_95_by_level": "mask mAP50-95, by level",
    "mask_best_f1": "mask F1, best, one class",
    "recall": "recall of bodies",
    "precision": "precision of bodies",
    "films_with_all_bodies": "films with every body found",
    "films_with_all_published": "films with every body published",
    "level_exact_raw": "level exact, raw",
    "level_exact_chain": "level exact, after the chain",
    "level_within_one_chain": "level within one, after the chain",
    "films_wholly_right": "films wholly right",
    "dice_mean": "Dice, mean",
    "corner_share_median": "corner error ÷ height or depth, median",
    "corner_px_median": "corner error, median, px",
    "endplate_mm_median": "endplate error, median, mm",
    "disc_height_mm_median": "disc height error, median, mm",
    "s1_plate_found": "S1's plate found",
}


def print_table(figures: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the figures that decide, with their 95 % intervals, one column for each set."""
    table = Table(title="value (95 % interval by bootstrap over groups)")
    table.add_column("")
    for name, part in figures.items():
        table.add_column(f"{name}\n{part['films']} films, {part['groups']} groups, {part['bodies']} bodies")
    for key, words in _SHOWN.items():
        cells = [_cell(part["figures"].get(key)) for part in figures.values()]
        if any(cells):
            table.add_row(words, *cells)
    Console().print(table)


def _cell(told: Mapping[str, float | None] | None) -> str:
    if not told or told["value"] is None:
        return ""
    if told["low"] is None:
        return f"{told['value']:.3f}"
    return f"{told['value']:.3f} ({told['low']:.3f} … {told['high']:.3f})"


def write_report(
    out: Path,
    conditions: Conditions,
    sets: Mapping[str, Sequence[Film]],
    results: Mapping[str, Sequence[FilmResult]],
    figures: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write ``figures.json``, ``films.csv`` and ``bodies.csv`` into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "figures.json").write_text(json.dumps({"sets": figures}, indent=1) + "\n", encoding="utf-8")
