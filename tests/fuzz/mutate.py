"""Good files made bad, by rules that know how files are built; the same seed and number give the same file."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from pydicom import uid as uids
from pydicom.datadict import dictionary_VR, tag_for_keyword

from tests.fuzz import corpus

_LONG = (b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UN", b"UT", b"UC", b"UR", b"SV", b"UV")
_VRS = (*_LONG, b"AE", b"AS", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL",
        b"SS", b"ST", b"TM", b"UI", b"UL", b"US", b"AT", b"??", b"\0\0", b"zz", b"OX")  # fmt: skip
_TAGS = (0x00020010, 0x00080005, 0x00080018, 0x0020000D, 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011,
         0x00280100, 0x00280101, 0x00280102, 0x00280103, 0x00281050, 0x00281051, 0x00283000, 0x00283010, 0x7FE00010,
         0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0x00041220, 0x00000002)  # fmt: skip
_LENGTHS = (
    0,
    1,
    2,
    3,
    7,
    0x7F,
    0xFF,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFF0,
    0xFFFFFFFE,
    0xFFFFFFFF,
)
_NUMBERS = (b"0", b"-1", b"1", b"1e308", b"-1e308", b"1e-320", b"nan", b"inf", b"-inf", b"65536", b"1e9", b"0.5",
            b"-0", b"", b" ", b"1,5", b"0x10", b"1\\2\\3", b"\\", b"9" * 26, b"1_0", b"\xd9\xa3")  # fmt: skip
_TEXTS = (b"", b" ", b"\\", b"\\" * 40, b"\0" * 8, b"\xff\xfe" * 9, b"x" * 300, b"\x1b$B;3ED\x1b(J", b"%s%n",
          b"../../etc/passwd", b"ISO_IR 192", b"ISO 2022 IR 87\\ISO 2022 IR 149", b"GB18030", b"\xf0\x9f\x92\xa9",
          b"a\r\nb", b"INVERSE", b"LATERAL", b"AP", b"MONOCHROME1", b"RGB", b"SIGMOID", b"F", b"X", b"20260230",
          b"999Y", b"P\\F")  # fmt: skip
_WORDS = (0, 1, 2, 7, 8, 12, 15, 16, 17, 63, 64, 255, 256, 32767, 32768, 65535)
KEYWORDS = tuple(  # what the product looks at
    """
    SpecificCharacterSet ImageType SOPClassUID StudyDate StudyTime AccessionNumber Modality
    PresentationIntentType Manufacturer StudyDescription SeriesDescription PatientName PatientID
    PatientBirthDate PatientSex PatientAge BodyPartExamined ViewPosition ImagerPixelSpacing PixelSpacing
    NominalScannedPixelSpacing DistanceSourceToDetector DistanceSourceToPatient
    EstimatedRadiographicMagnificationFactor PixelSpacingCalibrationType StudyInstanceUID SeriesInstanceUID
    SOPInstanceUID StudyID SeriesNumber InstanceNumber PatientOrientation SamplesPerPixel
    PhotometricInterpretation NumberOfFrames Rows Columns PixelAspectRatio BitsAllocated BitsStored HighBit
    PixelRepresentation PixelPaddingValue PixelPaddingRangeLimit PixelIntensityRelationship WindowCenter
    WindowWidth PixelIntensityRelationshipSign RescaleIntercept RescaleSlope VOILUTFunction
    PresentationLUTShape Laterality ShutterLeftVerticalEdge ShutterRightVerticalEdge
    ShutterUpperHorizontalEdge ShutterLowerHorizontalEdge AnatomicRegionSequence ViewCodeSequence
    ModalityLUTSequence VOILUTSequence FrameOfReferenceUID AcquisitionNumber TimezoneOffsetFromUTC
    ReferringPhysicianName PatientSize PatientWeight LossyImageCompression BurnedInAnnotation
    SoftwareVersions DeviceSerialNumber PlanarConfiguration
    """.split()  # noqa: SIM905 - seventy quoted words are harder to read
)


@dataclass(frozen=True)
class Mutant:
    """A file that was made bad."""

    name: str
    """The rules that made it; ends in the suffix that it is to have."""
    data: bytes


def mutant(seed: int | str, number: int) -> Mutant:
    """Make the file of this number."""
    chance = random.Random(f"{seed}|{number}")
    kind = chance.random()
    if kind < 0.08:
        return _picture(chance)
    if kind < 0.35:
        return Mutant("elements.dcm", _elements(chance))
    data, names = bytearray(_seed(chance)), []
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        rule = chance.choice(_RULES)
        rule(data, chance)
        names.append(rule.__name__.strip("_"))
    return Mutant("+".join(names) + ".dcm", bytes(data))


def _seed(chance: random.Random) -> bytes:
    return chance.choice(corpus.made() if chance.random() < 0.7 else corpus.found())


def _picture(chance: random.Random) -> Mutant:
    data = bytearray(chance.choice(corpus.pictures()))
    for _ in range(chance.choice((1, 2, 8))):
        chance.choice((_flip_early, _flip, _cut, _double, _number_early))(data, chance)
    return Mutant("picture" + chance.choice((".png", ".jpg")), bytes(data))


def _elements(chance: random.Random) -> bytes:
    """A good film with hostile values in elements that are looked at, written as they are."""
    data = bytearray(corpus.plain())
    for keyword in chance.sample(KEYWORDS, chance.choice((1, 1, 2, 3, 8))):
        put(data, keyword, value_for(keyword, chance))
    return bytes(data)


def put(data: bytearray, keyword: str, value: bytes | None) -> None:
    """Write the value of an element of an explicit VR little endian file as it is, in its place; None removes it."""
    tag, vr = tag_for_keyword(keyword), dictionary_VR(keyword)[:2].encode()
    assert tag is not None
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    at = len(data)
    for start, after, length in _places(data):
        group, element = struct.unpack_from("<HH", data, start)
        if group << 16 | element >= tag and group != 2:
            at = start
            if group << 16 | element == tag:
                del data[start : after + length]
            break
    if value is not None:
        size = struct.pack("<HL", 0, len(value)) if vr in _LONG else struct.pack("<H", len(value))
        data[at:at] = head + size + value


def value_for(keyword: str, chance: random.Random) -> bytes | None:
    """Bytes to stand as the value of an element; None leaves it out."""
    if chance.random() < 0.1:
        return None
    vr = dictionary_VR(keyword)
    if vr in ("US", "SS", "US or SS"):
        return b"".join(
            struct.pack("<H", chance.choice(_WORDS)) for _ in range(chance.choice((1, 1, 1, 0, 2, 3)))
        )
    if vr == "SQ":
        return chance.choice((b"", _nested(chance), b"\xfe\xff\x00\xe0\x04\0\0\0abcd", chance.randbytes(20)))
    pool = _NUMBERS if vr in ("DS", "IS") and chance.random() < 0.9 else _TEXTS
    value = b"\\".join(chance.choice(pool) for _ in range(chance.choice((1, 1, 1, 2, 3))))
    return value + b" " * (len(value) % 2)


def _nested(chance: random.Random) -> bytes:
    """Items in items, of stated and of undefined length, some of them wrong."""
    inner = b""
    for _ in range(chance.choice((1, 3, 30))):
        if chance.random() < 0.5:
            item = struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
            length = len(item)
        else:
            item = (
                struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
                + inner
                + struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
            )
            item += struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
            length = 0xFFFFFFFF
        length += chance.choice((0, 0, 0, 0, 1)) if length < 0xFFFFFFFF else 0
        tag = chance.choice((0x00082218, 0x00540220, 0x00283010, 0x00081110))
        inner = struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, b"SQ", 0, length) + item
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner


def _places(data: bytes) -> list[tuple[int, int, int]]:
    """Start, start of the value and its length of each element, as far as it can be followed (explicit, or not)."""
    places, at = [], 132
    while at + 8 <= len(data) and len(places) < 3000:
        vr = bytes(data[at + 4 : at + 6])
        if vr.isalpha() and vr.isupper():
            long = vr in _LONG
            head = 12 if long else 8
            length = int.from_bytes(data[at + 8 : at + 12] if long else data[at + 6 : at + 8], "little")
        else:
            head, length = 8, int.from_bytes(data[at + 4 : at + 8], "little")
        places.append((at, at + head, length))
        at += head + (0 if length == 0xFFFFFFFF or data[at : at + 2] == b"\xfe\xff" else length)
    return places


def _place(data: bytearray, chance: random.Random) -> tuple[int, int, int]:
    return chance.choice(_places(data) or [(0, 0, 0)])


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 4, 40))):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _flip_early(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 4, 16))):
        if data:
            data[chance.randrange(min(len(data), 3000))] = chance.randrange(256)


def _number_early(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(max(1, min(len(data), 400)))
    data[at : at + 4] = struct.pack(chance.choice("<>") + "L", chance.choice(_LENGTHS))


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _double(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    piece = data[start : start + chance.choice((4, 64, 1000))]
    data[start:start] = piece * chance.choice((1, 2, 50))


def _state_length(data: bytearray, chance: random.Random) -> None:
    start, value, length = _place(data, chance)
    lie = chance.choice((*_LENGTHS, length + 1, max(0, length - 1), length * 2)) & 0xFFFFFFFF
    if value - start == 12 or not bytes(data[start + 4 : start + 6]).isupper():
        data[value - 4 : value] = struct.pack("<L", lie)
    else:
        data[value - 2 : value] = struct.pack("<H", lie & 0xFFFF)


def _state_vr(data: bytearray, chance: random.Random) -> None:
    start, _, _ = _place(data, chance)
    data[start + 4 : start + 6] = chance.choice(_VRS)


def _state_tag(data: bytearray, chance: random.Random) -> None:
    start, _, _ = _place(data, chance)
    tag = chance.choice(_TAGS)
    data[start : start + 4] = struct.pack("<HH", tag >> 16, tag & 0xFFFF)


def _state_value(data: bytearray, chance: random.Random) -> None:
    """Another value of the same length."""
    _, value, length = _place(data, chance)
    if 0 < length < 10_000:
        text = chance.choice((*_NUMBERS, *_TEXTS, *(struct.pack("<H", word) for word in _WORDS)))
        data[value : value + length] = (text + b" " * length)[:length]


def _remove(data: bytearray, chance: random.Random) -> None:
    start, value, length = _place(data, chance)
    del data[start : value + min(length, len(data))]


def _move(data: bytearray, chance: random.Random) -> None:
    start, value, length = _place(data, chance)
    piece = data[start : value + min(length, 100_000)]
    at, _, _ = _place(data, chance)
    data[at:at] = piece


def _nest(data: bytearray, chance: random.Random) -> None:
    at, _, _ = _place(data, chance)
    body = _nested(chance)
    tag = chance.choice((0x00082218, 0x00400275, 0x00091010))
    length = chance.choice((len(body), len(body), 0xFFFFFFFF, len(body) + 1))
    vr = chance.choice((b"SQ", b"SQ", b"UN", b"OB"))
    data[at:at] = struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, length) + body


def _splice(data: bytearray, chance: random.Random) -> None:
    other = _seed(chance)
    at, start = chance.randrange(len(data) + 1), chance.randrange(len(other))
    data[at:] = other[start:]


def _claim(data: bytearray, chance: random.Random) -> None:
    """Another transfer syntax for the same bytes."""
    for start, value, length in _places(data):
        if data[start : start + 4] == b"\x02\x00\x10\x00" and value - start == 8:
            other = chance.choice(
                (*corpus.WRITTEN, uids.JPEGBaseline8Bit, uids.JPEGLosslessSV1, uids.HTJ2K, "1.2.3", "")
            )
            text = other.encode() + b"\0" * (len(other) % 2)
            data[value - 2 : value + length] = struct.pack("<H", len(text)) + text
            return


def _deflate(data: bytearray, chance: random.Random) -> None:
    """Inflate and mutate what is deflated, or deflate what is not and say so."""
    end = _end_of_meta(data)
    stream = zlib.compressobj(1, wbits=-15)
    body = bytearray(data[end:])
    chance.choice((_flip_early, _state_value, _cut))(body, chance)
    data[end:] = stream.compress(bytes(body)) + stream.flush()
    if chance.random() < 0.9:
        meta = data[:end]
        for start, value, length in _places(meta):
            if meta[start : start + 4] == b"\x02\x00\x10\x00" and value - start == 8:
                text = uids.DeflatedExplicitVRLittleEndian.encode()
                data[value - 2 : value + length] = struct.pack("<H", len(text)) + text


def _end_of_meta(data: bytearray) -> int:
    return next((start for start, _, _ in _places(data) if data[start : start + 2] != b"\x02\0"), len(data))


def _harm_pixels(data: bytearray, chance: random.Random) -> None:
    """Bytes at the start of the pixel data: fragments, headers of compressed images."""
    at = data.rfind(b"\xe0\x7f\x10\x00")
    for _ in range(chance.choice((1, 2, 6)) if at >= 0 else 0):
        place = at + chance.randrange(4, 160)
        if place + 4 < len(data):
            width = chance.choice((1, 1, 2, 4))
            data[place : place + width] = (
                chance.randbytes(width) if chance.random() < 0.5 else b"\xff" * width
            )


_RULES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip, _flip_early, _cut, _double, _state_length, _state_length, _state_vr, _state_tag, _state_value, _state_value,
    _remove, _move, _nest, _splice, _claim, _deflate, _harm_pixels, _harm_pixels,
)  # fmt: skip
