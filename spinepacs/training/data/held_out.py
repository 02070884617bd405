"""Which real AP films are trained on and which are kept back to judge with."""

from __future__ import annotations

from pathlib import Path

from spinepacs.training.data.dataset import Film, read_ap_corners, split_by_group
from spinepacs.training.data.doubts import suspicion

SPLIT_SEED = 3
VALIDATION_SHARE = 0.2


def real_films(folder: Path) -> tuple[list[Film], list[Film]]:
    """Training and validation films of an AP folder: split by group first, then doubtful labels are dropped."""
    parts = split_by_group(read_ap_corners(folder), VALIDATION_SHARE, SPLIT_SEED)
    kept = [[film for film in part if suspicion(film) is None] for part in parts]
    return kept[0], kept[1]
