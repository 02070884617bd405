"""From attenuation to a displayed film: detector, scatter, noise, and the processing of radiography consoles."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.training.films.mesh import Floats, Image


@dataclass(frozen=True)
class Look:
    """How one film was exposed and processed; lengths in mm."""

    blur_mm: float
    scatter: float
    photons: float
    flatten: float
    flatten_mm: float
    sharpen: float
    sharpen_mm: float
    dark: float
    bright: float
    grid: bool
    black_air: float
    knee: float
    texture: float


def draw_look(rng: np.random.Generator, lateral: bool, region: str) -> Look:
    """Draw exposure and processing; full-spine films are the flattest, regional ones the sharpest."""
    full = region == "full"
    if full and not lateral:
        return _frontal_look(rng)
    return Look(
        blur_mm=rng.uniform(0.1, 0.3) if full else rng.uniform(0.08, 0.3),
        scatter=rng.uniform(0.05, 0.6),
        photons=float(10 ** (rng.uniform(4.0, 5.2) if full and lateral else rng.uniform(5.0, 6.3))),
        flatten=rng.uniform(0.1, 0.7) if lateral and region != "cervical" else rng.uniform(0.0, 0.4),
        flatten_mm=rng.uniform(18, 70),
        sharpen=rng.uniform(0.5, 3.0) if full and lateral else rng.uniform(0.1, 1.5),
        sharpen_mm=float(10 ** rng.uniform(-0.1, 1.0)),
        dark=rng.uniform(0.03, 0.27) if full and lateral else rng.uniform(0.12, 0.42),
        bright=rng.uniform(0.68, 0.92),
        grid=full and lateral and rng.random() < 0.35,
        black_air=rng.uniform(0.1, 0.5) if rng.random() < 0.85 else 0.0,
        knee=rng.uniform(0.3, 2.0) if full and lateral else rng.uniform(0.05, 1.4),
        texture=rng.uniform(0.02, 0.1) if full and lateral else rng.uniform(0.0, 0.035),
    )


def _frontal_look(rng: np.random.Generator) -> Look:
    """Draw the look of scoliosis films: lungs near black, the spine bright, low local contrast, some noise."""
    return Look(
        blur_mm=rng.uniform(0.1, 0.35),
        scatter=rng.uniform(0.02, 0.6),
        photons=float(10 ** rng.uniform(3.9, 5.4)),
        flatten=rng.uniform(0.0, 0.45),
        flatten_mm=rng.uniform(30, 110),
        sharpen=rng.uniform(0.0, 1.3),
        sharpen_mm=float(10 ** rng.uniform(-0.3, 0.4)),
        dark=rng.uniform(0.1, 0.5),
        bright=rng.uniform(0.6, 0.95),
        grid=rng.random() < 0.03,
        black_air=rng.uniform(0.3, 1.6) if rng.random() < 0.8 else 0.0,
        knee=rng.uniform(0.2, 2.0),
        texture=rng.uniform(0.004, 0.03),
    )


def smooth(image: Image, sigma_px: float) -> Image:
    """Blur by a Gaussian; wide ones on a shrunken image, which is as good and much faster."""
    step = int(max(1, sigma_px // 4))
    if step == 1:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), max(sigma_px, 0.3)), dtype=np.float32)
    height, width = image.shape
    small = cv2.resize(image, (max(2, width // step), max(2, height // step)), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma_px / step, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def grain(shape: tuple[int, int], spacing_mm: float, rng: np.random.Generator) -> Image:
    """Return noise with equal power per octave from 0.4 to 6 mm, SD about 1: the weave of bone, muscle and fat."""
    total = np.zeros(shape, np.float32)
    for size_mm in (0.4, 0.9, 2.0, 4.5):
        step = max(size_mm / spacing_mm, 1.0)
        small = (int(shape[0] / step) + 2, int(shape[1] / step) + 2)
        layer = rng.standard_normal(small, dtype=np.float32)
        total += cv2.resize(layer, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return total / 1.7


def expose(attenuation: Image, look: Look, spacing_mm: float, rng: np.random.Generator) -> Image:
    """Return the logarithm of what the detector saw, higher where denser: (H, W) float32."""
    weave = look.texture * grain(attenuation.shape, spacing_mm, rng) * np.minimum(attenuation / 3.0, 1.0)
    primary = smooth(np.exp(-attenuation - weave), look.blur_mm / spacing_mm)
    # Tissue scatters, the open beam beside it does not: without that the thin neck would drown in its veil.
    scatter = look.scatter * 1.5 * smooth(primary * (1 - primary) ** 6, 35.0 / spacing_mm)
    signal = primary + scatter
    # Noise per pixel falls with the pixel's area; a little blur of it stands for the scintillator.
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 0.6) * 1.7
    quanta = look.photons * spacing_mm**2 * 20.0
    signal = signal + noise * np.sqrt(np.maximum(signal, 0) / quanta) + 2e-5
    return np.asarray(-np.log(np.maximum(signal, 1e-5)), dtype=np.float32)


def _columns_at(path_px: Floats, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.argsort(path_px[:, 1])
    return np.round(np.interp(rows, path_px[order, 1], path_px[order, 0])).astype(np.int64)


def display(density: Image, look: Look, spacing_mm: float, path_px: Floats) -> Image:
    """Return display values 0..1 of a log film, (H, W) float32.

    path_px: (N, 2) middles of the bodies in the film; the window is set so that they are not saturated.
    """
    flat = density - look.flatten * smooth(density, look.flatten_mm / spacing_mm)
    detail = flat - smooth(flat, look.sharpen_mm / spacing_mm)
    flat = flat + look.sharpen * detail
    rows = np.arange(max(0, int(path_px[:, 1].min())), min(flat.shape[0], int(path_px[:, 1].max())), 3)
    offsets = np.arange(-14, 15, 4) / spacing_mm
    columns = np.clip(_columns_at(path_px, rows)[:, None] + offsets[None].astype(int), 0, flat.shape[1] - 1)
    low, high = np.percentile(flat[rows[:, None], columns], [2, 98])
    # Consoles spend more grey levels on the thin parts (neck, lungs) than on the thick ones.
    part = (flat - low) / max(high - low, 0.5)
    bent = (1 - np.exp(-look.knee * np.maximum(part, -0.5))) / (1 - np.exp(-look.knee))
    value = look.dark + bent * (look.bright - look.dark)
    # Shoulders and hips, denser than the spine, run softly into white.
    over = np.maximum(value - look.bright, 0) / (1 - look.bright)
    value = np.clip(np.minimum(value, look.bright) + (1 - look.bright) * np.tanh(over), 0, 1)
    if look.black_air:
        # Consoles let the unattenuated beam fall to black, whatever they flattened.
        value *= np.clip((density - float(density.min())) / look.black_air, 0, 1) ** 0.8
    return np.asarray(value, dtype=np.float32)


def collimate(value: Image, rng: np.random.Generator) -> Image:
    """Darken (or whiten) a border as collimators do; most films keep none."""
    height, width = value.shape
    if rng.random() < 0.55:
        return value
    edge = rng.uniform(0, 0.04, 4) * [height, height, width, width]
    shade = 0.0 if rng.random() < 0.85 else 1.0
    mask = np.ones_like(value)
    top, bottom, left, right = edge.astype(int)
    mask[:top], mask[height - bottom :], mask[:, :left], mask[:, width - right :] = 0, 0, 0, 0
    mask = cv2.GaussianBlur(mask, (0, 0), 2.0)
    return np.asarray(value * mask + shade * (1 - mask), dtype=np.float32)


def grid_and_seam(value: Image, look: Look, spacing_mm: float, rng: np.random.Generator) -> Image:
    """Draw the 50-mm lead grid and the seam of stitched panels where the look has them."""
    if not look.grid:
        return value
    height, width = value.shape
    step, thick = 50.0 / spacing_mm, max(1, round(0.5 / spacing_mm))
    lines = np.zeros_like(value)
    for start in np.arange(rng.uniform(0, step), height, step):
        lines[int(start) : int(start) + thick] = 1
    for start in np.arange(rng.uniform(0, step), width, step):
        lines[:, int(start) : int(start) + thick] = 1
    value = value + rng.uniform(0.02, 0.08) * cv2.GaussianBlur(lines, (0, 0), 0.7)
    seam = int(height * rng.uniform(0.4, 0.6))
    value[seam - 1 : seam + 2] += rng.choice([-1, 1]) * rng.uniform(0.1, 0.5)
    value[seam:] += rng.normal(0, 0.02)
    return np.asarray(np.clip(value, 0, 1), dtype=np.float32)


def stamp(image: NDArray[np.uint8], rng: np.random.Generator, lateral: bool) -> None:
    """Write a side letter or a word, in place (after any mirroring); a quarter of the films have none."""
    if rng.random() < 0.25:
        return
    height, width = image.shape
    scale = height / 1400 * rng.uniform(0.8, 1.8)
    thick = max(1, round(scale * rng.uniform(1.5, 2.5)))
    word = str(rng.choice(["R", "L", "R", "L", "STANDING", "ERECT", "LL" if lateral else "PA"]))
    (wide, high), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    x = width * (rng.uniform(0.03, 0.12) if rng.random() < 0.5 else rng.uniform(0.8, 0.9))
    y = height * (rng.uniform(0.03, 0.15) if rng.random() < 0.5 else rng.uniform(0.8, 0.97))
    place = (int(min(x, width - wide - 4)), int(max(y, high + 4)))
    shade = int(rng.integers(170, 256))
    cv2.putText(image, word, place, cv2.FONT_HERSHEY_SIMPLEX, scale, shade, thick, cv2.LINE_AA)


def finish(value: Image, rng: np.random.Generator, packed: bool = True) -> NDArray[np.uint8]:
    """Return the 8-bit film; packed: sometimes through a JPEG, as exported films are."""
    image = np.round(np.clip(value, 0, 1) * 255).astype(np.uint8)
    if packed and rng.random() < 0.4:
        _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(55, 95))])
        image = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)
    return image
