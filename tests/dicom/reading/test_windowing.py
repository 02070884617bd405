"""Windowing: checked against pydicom where pydicom is right, and by what a viewer shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing

from spinepacs.dicom.reading.windowing import Picture, window
from spinepacs.domain.findings import Refusal
from spinepacs.domain.geometry import Turn
from tests.films import make_cr, make_dx, spine_like

SIGNED = (spine_like().astype(np.int32) - 2048).astype(np.int16)


def show(film: Dataset) -> Picture:
    picture = window(film.pixel_array, film)
    assert isinstance(picture, Picture), picture
    assert np.asarray(picture.values).dtype == np.float32
    assert picture.display.dtype == np.uint8
    assert picture.values.shape == picture.display.shape == film.pixel_array.shape
    return picture


def lut(first: int, entries: NDArray[Any], bits: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 65536, first, bits])
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return item


def test_a_wide_linear_window_keeps_the_order_of_the_grey_levels() -> None:
    picture = show(make_dx())
    assert np.array_equal(picture.values, spine_like())
    assert np.allclose(picture.display, spine_like() / 4095 * 255, atol=1)
    assert picture.notes == ()


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("slope", [1, 2.5])
@pytest.mark.parametrize(
    ("pixels", "centre", "width"),
    [
        ((spine_like() >> 4).astype(np.uint8), 110, 150),
        (spine_like(), 1800, 2000),
        (spine_like(bits=16), 30000, 40000),
        (SIGNED, -300, 2000),
    ],
    ids=["8 bits", "12 bits", "16 bits", "signed"],
)
def test_windows_agree_with_pydicom(
    pixels: NDArray[Any], centre: int, width: int, slope: float, function: str
) -> None:
    film = make_cr(
        pixels, WindowCenter=[centre * slope - 7, 1], WindowWidth=[width * slope, 2], VOILUTFunction=function
    )
    film.RescaleSlope, film.RescaleIntercept = slope, -7
    expected = apply_windowing(apply_modality_lut(pixels, film), film)
    bits = film.BitsStored
    bounds = np.array(
        [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if film.PixelRepresentation else [0, 2**bits - 1]
    )
    low, high = bounds * slope - 7
    assert np.abs(show(film).display - (expected - low) / (high - low) * 255).max() <= 0.51
    assert np.allclose(np.asarray(show(film).values), pixels * slope - 7)


@pytest.mark.parametrize("first", [0, 300, -500])
def test_a_voi_lut_agrees_with_pydicom(first: int) -> None:
    pixels = SIGNED if first < 0 else spine_like()
    entries = (np.linspace(0, 1, 3000) ** 2 * 65535).astype(np.uint16)
    film = make_cr(pixels, VOILUTSequence=[lut(first, entries, 16)])
    assert np.abs(show(film).display - apply_voi(pixels, film) / 65535 * 255).max() <= 0.51


def test_an_8_bit_voi_lut_of_4096_entries_does_not_wrap_around() -> None:
    film = make_cr(VOILUTSequence=[lut(0, np.arange(4096) >> 4, 8)])
    assert np.array_equal(show(film).display, spine_like() >> 4)


def test_8_bit_entries_may_be_packed_two_in_a_word() -> None:
    item = lut(0, np.arange(4096), 8)
    item.LUTData = (np.arange(4096) >> 4).astype(np.uint8).tobytes()
    assert np.array_equal(show(make_cr(VOILUTSequence=[item])).display, spine_like() >> 4)


def test_a_table_that_declares_16_bits_but_fills_12_is_not_dark() -> None:
    film = make_cr(VOILUTSequence=[lut(0, np.arange(4096), 16)])
    assert np.allclose(show(film).display, spine_like() / 4095 * 255, atol=0.51)


def test_a_damaged_voi_lut_gives_way_to_the_window() -> None:
    item = lut(0, np.arange(4096), 16)
    item.LUTData = item.LUTData[:1000]
    film = make_cr(VOILUTSequence=[item])
    assert np.array_equal(show(film).display, show(make_cr()).display)


def test_a_12_bit_modality_lut_changes_values_and_picture() -> None:
    entries = np.arange(4096)[::-1]
    film = make_cr(ModalityLUTSequence=[lut(0, entries, 12)])
    picture = show(film)
    assert np.array_equal(picture.values, 4095 - spine_like())
    assert np.allclose(picture.display, 255 - show(make_cr()).display, atol=1)


@pytest.mark.parametrize("relationship", ["LOG", "DISP"])
def test_the_modality_lut_of_an_xa_image_is_not_for_display(relationship: str) -> None:
    film = make_cr(Modality="XA", PixelIntensityRelationship=relationship)
    film.ModalityLUTSequence = [lut(0, np.arange(4096)[::-1], 12)]
    assert np.array_equal(show(film).display, show(make_cr()).display)


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted", "notes"),
    [
        ("MONOCHROME2", None, False, ()),
        ("MONOCHROME1", None, True, ()),
        ("MONOCHROME2", "IDENTITY", False, ()),
        ("MONOCHROME1", "INVERSE", True, ()),
        ("MONOCHROME1", "IDENTITY", False, ("POLARITY_INCONSISTENT",)),
        ("MONOCHROME2", "INVERSE", True, ("POLARITY_INCONSISTENT",)),
    ],
)
def test_polarity_is_applied_once(
    photometric: str, shape: str | None, inverted: bool, notes: tuple[str, ...]
) -> None:
    plain = show(make_cr()).display
    picture = show(make_dx(PhotometricInterpretation=photometric, PresentationLUTShape=shape))
    assert np.array_equal(picture.display, 255 - plain if inverted else plain)
    assert np.array_equal(picture.values, spine_like()), "values stay as stored"
    assert picture.notes == notes


@pytest.mark.parametrize("sign", [1, -1])
def test_images_for_processing_show_bone_bright_whatever_their_sign(sign: int) -> None:
    pixels = spine_like() if sign == -1 else 4095 - spine_like()
    film = make_dx(pixels, PresentationIntentType="FOR PROCESSING", PixelIntensityRelationshipSign=sign)
    film.PixelIntensityRelationship = "LIN"
    del film.PresentationLUTShape, film.WindowCenter, film.WindowWidth
    display = show(film).display
    assert np.corrcoef(display.ravel(), spine_like().ravel())[0, 1] > 0.9


@pytest.mark.parametrize("limit", [None, 5])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_count(photometric: str, limit: int | None) -> None:
    pixels = spine_like()
    pixels[:, :60] = 4 if limit else 0
    film = make_cr(pixels, PhotometricInterpretation=photometric, WindowCenter=None, WindowWidth=None)
    film.PixelPaddingValue = 0
    if limit:
        film.PixelPaddingRangeLimit = limit
    picture = show(film)
    bare = show(
        make_cr(pixels[:, 60:], PhotometricInterpretation=photometric, WindowCenter=None, WindowWidth=None)
    )
    assert (picture.display[:, :60] == 0).all()
    assert np.abs(picture.display[:, 60:].astype(int) - bare.display).max() <= 2


def test_signed_padding_written_as_unsigned_is_understood() -> None:
    pixels = SIGNED.copy()
    pixels[:, :60] = -32768
    film = make_cr(pixels, PhotometricInterpretation="MONOCHROME1", WindowWidth=4096)
    film.add_new("PixelPaddingValue", "US", 32768)
    assert (show(film).display[:, :60] == 0).all()
    assert (show(film).display[:, 60:] > 0).all()


@pytest.mark.parametrize(
    ("centre", "width", "note"),
    [
        (None, None, "WINDOW_MISSING"),
        (2048, None, "WINDOW_MISSING"),
        ("", "", "WINDOW_MISSING"),
        (2048, 0, "WINDOW_MISSING"),
        (2048, -4000, "WINDOW_MISSING"),
        (b"abc ", 4096, "WINDOW_MISSING"),
        (b"nan ", 4096, "WINDOW_MISSING"),
        (0, 1, "WINDOW_ABSURD"),
        (-5000, 1000, "WINDOW_ABSURD"),
        (60000, 1000, "WINDOW_ABSURD"),
        (1500, 1, "WINDOW_ABSURD"),
        (2048, 1e7, "WINDOW_ABSURD"),
        (2048, b"1e-320", "WINDOW_ABSURD"),
        (b"1e308 ", 1000, "WINDOW_ABSURD"),
    ],
)
def test_no_window_or_an_absurd_one_gives_robust_contrast(centre: Any, width: Any, note: str) -> None:
    pixels = spine_like()
    pixels[:40], pixels[-40:] = 0, 4095
    film = make_cr(pixels, WindowCenter=centre, WindowWidth=width)
    picture = show(film)
    inside = picture.display[40:-40]
    assert picture.notes == (note,)
    assert inside.min() == 0
    assert inside.max() == 255
    assert 60 < np.median(inside) < 160


def test_what_lies_behind_the_shutter_does_not_count() -> None:
    pixels = spine_like()
    framed = np.pad(pixels, 100)
    framed[:100] = np.random.default_rng(2).integers(3900, 4000, framed[:100].shape)
    film = make_cr(framed, WindowCenter=None, WindowWidth=None, ShutterShape="RECTANGULAR")
    film.ShutterLeftVerticalEdge, film.ShutterRightVerticalEdge = 100, 301
    film.ShutterUpperHorizontalEdge, film.ShutterLowerHorizontalEdge = 100, 401
    bare = show(make_cr(pixels, WindowCenter=None, WindowWidth=None))
    assert np.abs(show(film).display[100:-100, 100:-100].astype(int) - bare.display).max() <= 6


def test_bits_beside_the_stored_ones_are_no_grey_levels() -> None:
    overlay = spine_like() | np.uint16(0x8000)
    film = make_cr(overlay, BitsStored=12, HighBit=11, WindowCenter=2048, WindowWidth=4096)
    assert np.array_equal(show(film).display, show(make_cr()).display)
    shifted = window(spine_like() << 4, make_cr(BitsStored=12, HighBit=15))
    assert isinstance(shifted, Picture)
    assert np.array_equal(shifted.values, spine_like())


@pytest.mark.parametrize("value", [0, 700, 4095])
def test_an_empty_image_is_refused(value: int) -> None:
    film = make_cr(np.full((200, 200), value, np.uint16))
    refusal = window(film.pixel_array, film)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "EMPTY_IMAGE"


def test_an_image_of_nothing_but_padding_is_refused() -> None:
    film = make_cr(np.full((200, 200), 7, np.uint16), PixelPaddingValue=7)
    refusal = window(film.pixel_array, film)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "EMPTY_IMAGE"


@pytest.mark.parametrize("pixels", [SIGNED, spine_like(), (spine_like() >> 4).astype(np.uint8)], ids=str)
def test_a_burnt_out_image_is_refused(pixels: NDArray[Any]) -> None:
    burnt = np.where(np.indices(pixels.shape)[1] < 195, pixels.max() + 1, pixels).astype(pixels.dtype)
    film = make_cr(burnt)
    refusal = window(film.pixel_array, film)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "BURNT_OUT"


def test_a_film_with_wide_collimation_is_not_called_burnt_out() -> None:
    pixels = spine_like(400, 400)
    pixels[:, :150], pixels[:, 250:] = 0, 0
    show(make_cr(pixels))


@pytest.mark.parametrize(
    ("slope", "intercept", "note"),
    [
        (b"0 ", b"0 ", "RESCALE_SLOPE_ZERO"),
        (b"1e308 ", b"0 ", "RESCALE_ABSURD"),
        (b"1e39", b"0 ", "RESCALE_ABSURD"),
        (b"-1e308", b"1e308 ", "RESCALE_ABSURD"),
        (b"1 ", b"1e30", "RESCALE_ABSURD"),
        (b"1e-320", b"0 ", "RESCALE_ABSURD"),
    ],
)
def test_an_absurd_rescale_is_not_used(slope: bytes, intercept: bytes, note: str) -> None:
    picture = show(make_cr(RescaleSlope=slope, RescaleIntercept=intercept))
    assert note in picture.notes
    assert np.array_equal(picture.values, spine_like())
    assert np.array_equal(picture.display, show(make_cr()).display)


@pytest.mark.parametrize("turn", Turn)
def test_values_that_are_looked_up_are_those_of_an_array(turn: Turn) -> None:
    values = show(make_dx(SIGNED, RescaleSlope=2, RescaleIntercept=-7)).values
    whole = (SIGNED * 2.0 - 7).astype(np.float32)
    y, x = np.array([[3, 0], [299, 7]]), np.array([[5, 0], [199, 8]])
    assert np.array_equal(values[y, x], whole[y, x])
    assert np.array_equal(values[::4, ::3], whole[::4, ::3])
    assert np.array_equal((-values)[::4, ::3], -whole[::4, ::3])
    assert np.array_equal(values.turned(turn), turn.upright(whole))
    assert values.turned(turn).shape == turn.upright(whole).shape
