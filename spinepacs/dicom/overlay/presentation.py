"""The marks of the picture as a presentation state: lines and words that any viewer lays over the film itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

import spinepacs
from spinepacs.dicom import identity, tongue
from spinepacs.dicom.overlay.draw import Area, Label, PlacedLabel, Stroke, beads, placed
from spinepacs.dicom.overlay.letters import Colour
from spinepacs.dicom.overlay.marks import ALIGNMENT, STAGES, UNGRADED, Marks, outline_colour
from spinepacs.dicom.overlay.picture import text_px
from spinepacs.dicom.overlay.text import rows_of
from spinepacs.dicom.reading.parse import quiet
from spinepacs.dicom.reading.shown import Shown
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import EncodedObject, ObjectKind, Reading, Spine
from spinepacs.domain.geometry import Move, Points, Turn
from spinepacs.language import N_, _, speaking
from spinepacs.settings.sections import OutputSettings

_READ = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows", "Columns")
"""What highdicom reads of a source image, beside patient and study."""
_PIXEL = hd.pr.AnnotationUnitsValues.PIXEL
_NARROW = 0.62
"""Width of a letter over its height, with room to spare: viewers choose their own font."""


@dataclass(frozen=True)
class _Layer:
    """A graphic layer: its name (CS), what is on it, and its colour where the viewer has one for all of it."""

    name: str
    description: str
    colour: Colour


_OUTLINES = _Layer("OUTLINES", N_("Outlines of the vertebrae"), outline_colour(Level.L3))
_NAMES = _Layer(
    "NAMES", N_("Names of the vertebrae, [G] grade and form of a deformity"), outline_colour(Level.L3)
)
_DISCS = _Layer("DISCS", N_("Disc heights, [stage of loss], [Os] and [Sc] degrees"), STAGES[1])
_ANGLES = _Layer("ANGLES", N_("Angles and their legs, slips"), ALIGNMENT)
_DOUBTFUL = _Layer("DOUBTFUL", N_("What is withheld or not certain"), UNGRADED)
_NOTE = _Layer("NOTE", N_("What made these marks, and what they are not for"), (255, 255, 255))
_Mark = tuple[_Layer, hd.pr.GraphicObject | hd.pr.TextObject]


@quiet()  # the source was checked when it was read; its UIDs are kept, be they odd
def encode_presentation(
    header: Dataset, reading: Reading, shown: Shown, output: OutputSettings
) -> EncodedObject:
    """Encode what the picture shows on a film as a Grayscale Softcopy Presentation State (PS3.3 A.33.1).

    Whatever is dimmed or left out on the picture is here too: both are told by :class:`Marks`.

    Parameters
    ----------
    header
        Sanitised header of the source image, without pixels.
    reading
        A reading with vertebrae.
    shown
        How the film's pixels become its picture: a viewer applies this instead of what the image says.

    Raises
    ------
    ValueError
        If the reading has no spine: there is nothing to mark.
    """
    if reading.spine is None:
        raise ValueError("a reading without a spine has no marks")
    made = Dataset()
    identity.copy_patient_and_study(header, made)
    with speaking(tongue.settle(made, output.language)):
        state = _state(header, reading, shown, output)
    _finish(state, header, reading, output)
    if "SpecificCharacterSet" in made:
        state.SpecificCharacterSet = made.SpecificCharacterSet
    return identity.encoded(ObjectKind.GSPS, reading.sop_uid, state, ExplicitVRLittleEndian)


def _state(header: Dataset, reading: Reading, shown: Shown, output: OutputSettings) -> Dataset:
    """Everything about the picture; highdicom's identity is replaced by the film's."""
    source = _source(header)
    marks = sorted(_marks(reading), key=lambda mark: mark[0].name)
    layers = [
        (_highdicom_layer(layer, n), [mark for _, mark in of_layer])
        for n, (layer, of_layer) in enumerate(groupby(marks, key=lambda mark: mark[0]), start=1)
    ]
    return hd.pr.GrayscaleSoftcopyPresentationState(
        referenced_images=[source],
        series_instance_uid=identity.object_uid(reading, ObjectKind.GSPS, output, "series"),
        series_number=1,
        sop_instance_uid=identity.object_uid(reading, ObjectKind.GSPS, output),
        instance_number=1,
        manufacturer=identity.MANUFACTURER,
        manufacturer_model_name=identity.MANUFACTURER,
        software_versions=spinepacs.__version__,
        device_serial_number=output.device_serial_number,
        content_label="SPINE MARKS",
        content_description=identity.DISCLAIMER,
        content_creator_name=f"{identity.MANUFACTURER}^",
        graphic_layers=[layer for layer, _ in layers],
        graphic_annotations=[_annotation(source, layer, on_it) for layer, on_it in layers],
        **_transformations(shown),
    )


def _source(header: Dataset) -> Dataset:
    """Texts of patient and study stay out, as of a segmentation: highdicom refuses many character sets."""
    source = Dataset()
    for keyword in _READ:
        source[keyword] = header[keyword]
    source.SamplesPerPixel = 1
    for keyword in identity.TYPE_2:
        source.setdefault(keyword, None)
    return source


def _finish(state: Dataset, header: Dataset, reading: Reading, output: OutputSettings) -> None:
    """Whose it is and when it was made, from the film instead of the clock."""
    for equipment in state.get("ContributingEquipmentSequence", []):
        equipment.ContributionDateTime = f"{identity.made_at(header):%Y%m%d%H%M%S}"
    identity.stamp(state, header, reading, ObjectKind.GSPS, output)
    state.PresentationCreationDate, state.PresentationCreationTime = state.ContentDate, state.ContentTime
    del state.ContentDate, state.ContentTime  # no attributes of a presentation state
    spacing = reading.spacing
    for area in state.DisplayedAreaSelectionSequence if spacing else ():
        if spacing and spacing.row_mm != spacing.column_mm:
            area.PresentationPixelSpacing = [spacing.row_mm, spacing.column_mm]
            del area.PresentationPixelAspectRatio


def _transformations(shown: Shown) -> dict[str, Any]:
    """Modality LUT, softcopy VOI LUT and presentation LUT: with IDENTITY, highdicom's own, negatives turn round."""
    if shown.window:
        centre, width = shown.window
        voi = hd.pr.SoftcopyVOILUTTransformation(window_center=centre, window_width=width)
    else:
        voi = hd.pr.SoftcopyVOILUTTransformation(voi_luts=[hd.VOILUT(0, shown.table())])
    return {
        "modality_lut_transformation": hd.ModalityLUTTransformation(
            rescale_intercept=shown.intercept, rescale_slope=shown.slope, rescale_type="US"
        ),
        "voi_lut_transformations": [voi],
        "presentation_lut_transformation": hd.PresentationLUTTransformation(
            presentation_lut_shape="INVERSE" if shown.inverted else "IDENTITY"
        ),
    }


def _highdicom_layer(layer: _Layer, order: int) -> hd.pr.GraphicLayer:
    colour = hd.color.CIELabColor.from_rgb(*layer.colour)
    return hd.pr.GraphicLayer(layer.name, order, _(layer.description), colour)


def _annotation(
    source: Dataset, layer: hd.pr.GraphicLayer, marks: Sequence[hd.pr.GraphicObject | hd.pr.TextObject]
) -> hd.pr.GraphicAnnotation:
    return hd.pr.GraphicAnnotation(
        referenced_images=[source],
        graphic_layer=layer,
        graphic_objects=[mark for mark in marks if isinstance(mark, hd.pr.GraphicObject)],
        text_objects=[mark for mark in marks if isinstance(mark, hd.pr.TextObject)],
    )


def _marks(reading: Reading) -> Iterator[_Mark]:
    """Everything that is drawn, in px of the film; words are placed with the head up, as on the picture."""
    turn = reading.turn if reading.turn.is_sideways else Turn.NONE
    to_film: Move = turn.to_film(reading.rows, reading.columns)
    limits = np.array([reading.columns, reading.rows], np.float64)
    shape = (reading.columns, reading.rows) if turn else (reading.rows, reading.columns)
    if turn:
        reading = reading.moved(turn.to_upright(reading.rows, reading.columns))
    if reading.spine is None:
        return
    marks = Marks(reading, reading.spine, text_px(shape, reading.spine, 1.0))
    lines = [(_OUTLINES, marks.outlines()), (_DISCS, marks.lines()), (_ANGLES, marks.legs())]
    for layer, strokes in lines:
        for stroke in strokes:
            points = np.concatenate([stroke.points, stroke.points[:1]]) if stroke.closed else stroke.points
            yield _layer_of(layer, stroke.colour), _line(to_film(points), limits)
    for area in marks.areas():
        closed = np.concatenate([area.points, area.points[:1]])
        yield _layer_of(_DISCS, area.colour), _line(to_film(closed), limits)
    for label in _labels(marks, shape):
        yield _text(label, to_film, limits, bool(turn))
    yield _NOTE, _note(reading, reading.spine, limits)


def _layer_of(layer: _Layer, colour: Colour) -> _Layer:
    """Doubt has a layer of its own: many viewers know no colour but the layer's."""
    if colour == UNGRADED:
        return _DOUBTFUL
    return _ANGLES if colour == ALIGNMENT else layer


def _line(points: Points, limits: Points) -> hd.pr.GraphicObject:
    inside = np.clip(points, 0, limits)
    return hd.pr.GraphicObject("POLYLINE", np.round(inside, 2), _PIXEL)


def _labels(marks: Marks, shape: tuple[int, int]) -> list[tuple[_Layer, PlacedLabel]]:
    """Words of all layers, placed as on the picture."""
    strokes: list[Stroke] = [*marks.lines(), *marks.outlines(), *marks.legs()]
    areas: list[Area] = marks.areas()
    obstacles = np.concatenate([*map(beads, strokes), *(area.points for area in areas)])
    names, values, angles = marks.names(), marks.values(), marks.angle_labels()
    layer_of = {id(label): _NAMES for label in names} | {id(label): _ANGLES for label in angles}
    found = placed(shape, [names + values, angles], obstacles, 1.0)
    return [(_layer_of(layer_of.get(id(each.label), _DISCS), each.label.colour), each) for each in found]


def _text(label: tuple[_Layer, PlacedLabel], to_film: Move, limits: Points, is_sideways: bool) -> _Mark:
    """A word in a box, upright also on a film that lies on its side: viewers write along rows."""
    layer, at = label
    words = _words(at.label)
    width, height = max(at.width, _NARROW * at.label.size_px * len(words)), 1.3 * at.label.size_px
    (middle,) = to_film(np.array([[at.x + at.width / 2, at.y]]))
    left = middle[0] - at.width / 2
    if at.label.left and not is_sideways:
        left = middle[0] + at.width / 2 - width
    low = np.clip((left, middle[1] - height / 2), 0, np.maximum(limits - (at.width, height), 0))
    high = np.minimum(low + np.array([width, height]), limits)
    justification = "CENTER" if is_sideways else "RIGHT" if at.label.left else "LEFT"
    left, top, right, bottom = (round(float(value), 2) for value in (*low, *high))
    return layer, hd.pr.TextObject(
        words, _PIXEL, (left, top, right, bottom), text_justification=justification
    )


def _words(label: Label) -> str:
    """Text, and in brackets what stands on coloured fields in the picture."""
    return " ".join([*([label.text] if label.text else []), *(f"[{chip.text}]" for chip in label.chips)])


def _note(reading: Reading, spine: Spine, limits: Points) -> hd.pr.TextObject:
    """What no mark may be seen without, at the bottom left: disclaimer and versions."""
    rows = rows_of(reading)
    text = f"{rows[0].text}\r\n{rows[-1].text}"
    size = text_px((int(limits[1]), int(limits[0])), spine, 1.0)
    box = (0.0, float(limits[1] - 3 * size), float(limits[0]), float(limits[1]))
    return hd.pr.TextObject(text, _PIXEL, box, text_justification="LEFT")
