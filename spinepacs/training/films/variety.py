"""How patients differ about the sacrum: whose bones, how steep, how the pelvis stands, how much flesh lies on it.

Networks that had learnt one donor's sacrum took S1 for L5 on laterals, most often where all of it is bright and flat.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spinepacs.training.films.anatomy import Anatomy, load_anatomy
from spinepacs.training.films.build import Build
from spinepacs.training.films.flesh import Tissue
from spinepacs.training.films.look import smooth
from spinepacs.training.films.mesh import Floats, Image
from spinepacs.training.films.second import Second, load_mean, load_second, with_second


@dataclass(frozen=True)
class Donors:
    """Whose bones there are: the first donor's, from whom everything else comes, and others' from L1 down."""

    first: Anatomy
    others: tuple[Second, ...] = ()

    def draw(self, rng: np.random.Generator) -> Anatomy:
        """Draw whose lumbar vertebrae, and whose sacrum and pelvis, a patient has."""
        pick, own = self.first, len(self.others) + 1
        lumbar, sacrum = (int(rng.integers(own)), rng.random() < 0.6)
        if lumbar:
            pick = with_second(pick, self.others[lumbar - 1], True, False)
        if sacrum and self.others and "S1" in self.others[0].vertebrae:
            pick = with_second(pick, self.others[0], False, True)
        return pick


def load_donors(first: Path, second: Path | None, mean: Path | None) -> Donors:
    """Read the donors; second, mean: see `load_second` and `load_mean`; None: without.

    Raises BadSettings when a surface is missing.
    """
    anatomy = load_anatomy(first)
    others = [] if second is None else [load_second(second, anatomy)]
    others += [] if mean is None else [load_mean(mean, anatomy)]
    return Donors(anatomy, tuple(others))


def vary_build(build: Build, rng: np.random.Generator) -> Build:
    """Return the build with a sacrum and pelvis of its own."""
    old = rng.random() < 0.35  # in one of three a disc is left between S1 and S2
    return replace(
        build,
        slope=float(rng.normal(0, 9)),
        pelvis_turn=float(rng.normal(0, 7)),
        sacrum_curve=float(rng.normal(0, 0.0025)),
        crest_mm=build.crest_mm + float(rng.normal(2, 9)),
        pelvis=float(rng.uniform(0.55, 1.0)),
        remnant=(
            float(rng.uniform(1.2, 4.5)) if old else 0.0,
            float(rng.uniform(0.5, 1.0)),
            float(rng.uniform(0.004, 0.02)),
        ),
    )


def vary_tissue(tissue: Tissue, rng: np.random.Generator) -> Tissue:
    """Return the tissues with hips of their own, and marrow that may be thin."""
    return replace(
        tissue,
        hips=float(rng.uniform(0.4, 1.0)) if rng.random() < 0.8 else 0.0,
        buttock_mm=float(rng.uniform(0, 35)),
        loin=float(rng.uniform(0.0, 0.6)),
        density=tissue.density * float(rng.uniform(0.6, 0.95)),
    )


@dataclass(frozen=True)
class Wash:
    """A flat, bright lumbosacral region: from where on (0..1 of the way down the spine), how bright, what is left of
    the contrast; strength 0: none."""

    strength: float = 0.0
    start: float = 0.8
    bright: float = 0.85
    contrast: float = 0.5


def draw_wash(rng: np.random.Generator, lateral: bool) -> Wash:
    """Draw how flat the film is below; half of the laterals, and few others, are."""
    strength = float(rng.uniform(0.4, 1.0)) if rng.random() < (0.5 if lateral else 0.15) else 0.0
    return Wash(
        strength, float(rng.uniform(0.6, 0.95)), float(rng.uniform(0.7, 0.98)), float(rng.uniform(0.3, 0.9))
    )


def washed(value: Image, wash: Wash, spacing_mm: float, path_px: Floats) -> Image:
    """Return display values 0..1 with the lower part of the body bright and flat; path_px: (N, 2) of the bodies."""
    if not wash.strength:
        return value
    top, bottom = path_px[:, 1].min(), path_px[:, 1].max()
    rows = np.arange(len(value), dtype=np.float32)[:, None]
    start = top + wash.start * (bottom - top)
    low = 1 / (1 + np.exp(-(rows - start) * spacing_mm / 18.0))
    wide = smooth(value, 25.0 / spacing_mm)
    share = wash.strength * low * np.clip((wide - 0.15) / 0.3, 0, 1)
    # What lies above its surroundings stays so, only less: saturated films keep a trace of the bone.
    flat = wide + (wash.bright - wide) * 0.75 + wash.contrast * (value - wide)
    return np.asarray(np.clip(value + share * (flat - value), 0, 1), dtype=np.float32)
