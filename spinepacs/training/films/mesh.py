"""Closed surfaces, and the one kernel that turns them into path lengths.

The signed depth of a closed mesh sums, at every pixel, (depth where a ray leaves) minus (depth where it enters):
the path length inside, whatever the order of the triangles. Scan conversion takes each edge from its upper to its
lower end in both triangles that share it, so neighbours agree on every pixel: no pixel is hit twice, none is missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Image = NDArray[np.float32]


@dataclass(frozen=True)
class Mesh:
    """A closed triangle surface.

    vertices: (N, 3) float64, mm; x to the patient's left, y to the back, z up. faces: (M, 3) int32.
    """

    vertices: Floats
    faces: Ints


def cluster(mesh: Mesh, cell_mm: float) -> Mesh:
    """Coarsen by merging the vertices of each cell of cell_mm.

    Merging maps a closed surface to a closed surface (triangles that collapse have no area), so signed depths stay
    free of leaks, unlike after edge-collapse decimation.
    """
    keys = np.floor(mesh.vertices / cell_mm).astype(np.int64)
    keys -= keys.min(axis=0)
    span = keys.max(axis=0) + 1
    flat = (keys[:, 0] * span[1] + keys[:, 1]) * span[2] + keys[:, 2]
    _, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
    merged = np.stack([np.bincount(inverse, mesh.vertices[:, k]) / counts for k in range(3)], axis=1)
    faces = inverse[mesh.faces].astype(np.int32)
    alive = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])
    return Mesh(merged, faces[alive])


def vertex_normals(mesh: Mesh) -> Floats:
    """Return (N, 3) unit normals that point out of the mesh, weighted by triangle area."""
    corner = mesh.vertices[mesh.faces]
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    # The sign of the enclosed volume tells which way this file winds its triangles.
    volume = float(np.einsum("ij,ij->", corner[:, 0], cross))
    normals = np.zeros_like(mesh.vertices)
    for k in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(mesh.faces[:, k], cross[:, axis], len(normals))
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.asarray(np.sign(volume) * normals / np.maximum(length, 1e-9))


def tube(centres: Floats, radii: Floats, sides: int = 24) -> Mesh:
    """Return a closed tube of elliptic rings that lie in planes of constant z.

    centres: (R, 3) mm, one per ring, z rising. radii: (R, 2) mm, half-axes along x and y.
    """
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    xy = centres[:, None, :2] + radii[:, None, :] * ring[None]
    z = np.repeat(centres[:, 2:3], sides, axis=1)
    return close_rings(np.concatenate([xy, z[..., None]], axis=2))


def close_rings(rings: Floats) -> Mesh:
    """Join R rings of S points, (R, S, 3) mm, counter-clockwise seen from above, to a surface with caps."""
    count, sides, _ = rings.shape
    first = np.arange(count - 1)[:, None] * sides + np.arange(sides)[None]
    after = np.arange(count - 1)[:, None] * sides + (np.arange(sides)[None] + 1) % sides
    wall = [
        np.stack([first, after, after + sides], axis=-1),
        np.stack([first, after + sides, first + sides], -1),
    ]
    low, high = count * sides, count * sides + 1
    k = np.arange(sides)
    after_k = (k + 1) % sides
    top = (count - 1) * sides
    caps = [
        np.stack([np.full(sides, low), after_k, k], 1),
        np.stack([np.full(sides, high), top + k, top + after_k], 1),
    ]
    faces = np.concatenate([w.reshape(-1, 3) for w in wall] + caps).astype(np.int32)
    vertices = np.concatenate([rings.reshape(-1, 3), rings[:1].mean(axis=1), rings[-1:].mean(axis=1)])
    return Mesh(vertices, faces)


def sweep(line: Floats, radius: float, sides: int = 10) -> Mesh:
    """Return a round bar along a line (N, 3) mm with N >= 2."""
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    helper = np.eye(3)[int(np.argmin(np.abs(along).sum(axis=0)))]
    first = np.cross(along, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(along, first)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    around = np.cos(angle)[None, :, None] * first[:, None] + np.sin(angle)[None, :, None] * second[:, None]
    return outward(close_rings(line[:, None] + radius * around))


def ellipsoid(centre: Floats, half_axes: Floats, rings: int = 14, sides: int = 24) -> Mesh:
    """Return an ellipsoid, axes along x, y and z; centre and half_axes: (3,) mm."""
    polar = np.linspace(-np.pi / 2 * 0.98, np.pi / 2 * 0.98, rings)
    centres = np.tile(centre, (rings, 1))
    centres[:, 2] += half_axes[2] * np.sin(polar)
    return tube(centres, np.cos(polar)[:, None] * half_axes[None, :2], sides)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def _scan(uv: Any, depth: Any, faces: Any, weight: Any, plane: Any, out: Any) -> None:
    """Add weight * signed depth of all triangles to out; with a finite plane, the winding number behind it."""
    height, width = out.shape
    slicing = plane < 1e29
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        area = (uv[b, 0] - uv[a, 0]) * (uv[c, 1] - uv[a, 1]) - (uv[c, 0] - uv[a, 0]) * (uv[b, 1] - uv[a, 1])
        if area == 0.0 or not np.isfinite(area):
            continue
        sign = 1.0 if area > 0 else -1.0
        low = min(uv[a, 1], uv[b, 1], uv[c, 1])
        high = max(uv[a, 1], uv[b, 1], uv[c, 1])
        row0 = max(0, int(np.ceil(low - 0.5)))
        row1 = min(height, int(np.ceil(high - 0.5)))
        du = (
            (depth[b] - depth[a]) * (uv[c, 1] - uv[a, 1]) - (depth[c] - depth[a]) * (uv[b, 1] - uv[a, 1])
        ) / area
        dv = (
            (depth[c] - depth[a]) * (uv[b, 0] - uv[a, 0]) - (depth[b] - depth[a]) * (uv[c, 0] - uv[a, 0])
        ) / area
        least = min(depth[a], depth[b], depth[c])
        most = max(depth[a], depth[b], depth[c])
        for row in range(row0, row1):
            y = row + 0.5
            left, right = 1e30, -1e30
            for e in range(3):
                p, q = faces[f, e], faces[f, (e + 1) % 3]
                if uv[p, 1] > uv[q, 1] or (uv[p, 1] == uv[q, 1] and p > q):
                    p, q = q, p
                if uv[p, 1] <= y < uv[q, 1]:
                    x = uv[p, 0] + (y - uv[p, 1]) * (uv[q, 0] - uv[p, 0]) / (uv[q, 1] - uv[p, 1])
                    left = min(left, x)
                    right = max(right, x)
            if right < left:
                continue
            for col in range(max(0, int(np.ceil(left - 0.5))), min(width, int(np.ceil(right - 0.5)))):
                d = depth[a] + du * (col + 0.5 - uv[a, 0]) + dv * (y - uv[a, 1])
                # Slivers extrapolate wildly: keep each triangle's depth between those of its corners.
                d = min(max(d, least), most)
                if slicing:
                    if d > plane:
                        out[row, col] += sign
                else:
                    out[row, col] += weight * sign * d


def add_depth(out: Image, uv_px: Floats, depth_mm: Floats, faces: Ints, weight: float) -> None:
    """Add weight times the path length through a closed mesh to an image, in place.

    out: (H, W) float32. uv_px: (N, 2), pixel (0, 0) spans 0..1. depth_mm: (N,), growing away from the source.
    The part's own middle is taken as the origin of depth, so that a hole in a mesh leaks only its own thickness.
    The sign of weight follows the winding: see `orientation`.
    """
    centred = depth_mm - float(depth_mm.mean())
    _scan(uv_px, centred, faces, weight, 1e30, out)


def section(
    uv_px: Floats, depth_mm: Floats, faces: Ints, plane_mm: float, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return which pixels of the plane depth = plane_mm lie inside a closed mesh: (H, W) bool."""
    out = np.zeros(shape, np.float32)
    _scan(uv_px, depth_mm, faces, 1.0, plane_mm, out)
    return np.asarray(np.abs(out) > 0.5)


def outward(mesh: Mesh) -> Mesh:
    """Return the mesh with its triangles wound counter-clockwise seen from outside."""
    corner = mesh.vertices[mesh.faces]
    volume = float(np.einsum("ij,ij->", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])))
    return mesh if volume >= 0 else Mesh(mesh.vertices, np.ascontiguousarray(mesh.faces[:, ::-1]))
