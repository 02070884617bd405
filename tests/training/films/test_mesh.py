"""Path lengths through closed surfaces, against solids whose path lengths are known."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed (extra: train)")

from spinepacs.training.films.mesh import (
    Floats,
    Mesh,
    add_depth,
    cluster,
    ellipsoid,
    outward,
    section,
    sweep,
    vertex_normals,
)

PX_PER_MM = 3.0
SIZE = 300


def on_screen(mesh: Mesh) -> tuple[Floats, Floats]:
    """Parallel rays along x; y to the right, z up the wrong way round as in pixels."""
    uv = np.ascontiguousarray(np.stack([-mesh.vertices[:, 1], -mesh.vertices[:, 2]], axis=1))
    return uv * PX_PER_MM + SIZE / 2, np.ascontiguousarray(mesh.vertices[:, 0])


def radius_of_pixels() -> Floats:
    place = (np.arange(SIZE) + 0.5 - SIZE / 2) / PX_PER_MM
    return np.hypot(place[:, None], place[None])


@pytest.fixture
def sphere() -> Mesh:
    return outward(ellipsoid(np.zeros(3), np.full(3, 40.0), rings=80, sides=160))


def test_the_path_through_a_sphere_is_its_chord(sphere: Mesh) -> None:
    image = np.zeros((SIZE, SIZE), np.float32)
    add_depth(image, *on_screen(sphere), sphere.faces, 1.0)
    radius = radius_of_pixels()
    chord = 2 * np.sqrt(np.maximum(40.0**2 - radius**2, 0))
    inside = radius < 36
    assert np.abs(image - chord)[inside].max() < 0.15
    assert np.abs(image[radius > 40.2]).max() == 0


def test_no_ray_leaks_out_of_a_sphere_shifted_by_fractions_of_a_pixel(sphere: Mesh) -> None:
    uv, depth = on_screen(sphere)
    for shift in np.random.default_rng(0).uniform(-1, 1, (5, 2)):
        image = np.zeros((SIZE, SIZE), np.float32)
        add_depth(image, uv + shift, depth + 500.0, sphere.faces, 1.0)
        assert image.min() > -0.05
        assert image.max() < 80.1


def test_a_hollow_ball_is_its_outside_less_its_inside(sphere: Mesh) -> None:
    image = np.zeros((SIZE, SIZE), np.float32)
    add_depth(image, *on_screen(sphere), sphere.faces, 1.0)
    inner = Mesh(sphere.vertices - 2.0 * vertex_normals(sphere), sphere.faces)
    add_depth(image, *on_screen(inner), inner.faces, -1.0)
    assert image[SIZE // 2, SIZE // 2] == pytest.approx(4.0, abs=0.05)


def test_coarsening_keeps_the_surface_closed(sphere: Mesh) -> None:
    coarse = cluster(sphere, 6.0)
    assert len(coarse.faces) < len(sphere.faces) / 4
    edges = np.concatenate([coarse.faces[:, [0, 1]], coarse.faces[:, [1, 2]], coarse.faces[:, [2, 0]]])
    forward = {tuple(edge) for edge in edges.tolist()}
    assert forward == {(b, a) for a, b in forward}


def test_a_section_is_the_disc_in_which_a_plane_cuts_the_ball(sphere: Mesh) -> None:
    uv, depth = on_screen(sphere)
    cut = section(uv, depth, sphere.faces, 24.0, (SIZE, SIZE))
    area_mm2 = cut.sum() / PX_PER_MM**2
    assert area_mm2 == pytest.approx(np.pi * (40.0**2 - 24.0**2), rel=0.01)


@pytest.mark.parametrize("end", [(60.0, 0.0, 0.0), (0.0, 60.0, 0.0), (10.0, -20.0, 55.0)])
def test_a_bar_holds_the_volume_of_its_cylinder(end: tuple[float, float, float]) -> None:
    line = np.linspace(np.zeros(3), np.array(end), 5)
    bar = sweep(line, 3.0, sides=40)
    corner = bar.vertices[bar.faces]
    volume = np.einsum("ij,ij->", corner[:, 0], np.cross(corner[:, 1], corner[:, 2])) / 6
    assert volume == pytest.approx(np.pi * 9 * np.linalg.norm(end), rel=0.02)
