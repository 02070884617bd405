"""Text by character set: the Standard's own examples (PS3.5 annexes H, I, J, K), and what real senders make of them."""

from __future__ import annotations

import pytest

from spinepacs.dicom.reading.characters import decode
from spinepacs.dicom.reading.header import header_of
from tests.films import make_cr

JAPANESE = (
    b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
)
HALF_WIDTH = (
    b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
    "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
)
KOREAN = (b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7", "Hong^Gildong=洪^吉洞")
CHINESE = (b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=", "Zhang^XiaoDong=张^小东=")


@pytest.mark.parametrize(
    ("terms", "raw", "expected"),
    [
        ((), b"Mueller^Erika", "Mueller^Erika"),
        (("", "ISO 2022 IR 87"), *JAPANESE),
        (("ISO 2022 IR 6", "ISO 2022 IR 87"), *JAPANESE),
        (("ISO 2022 IR 13", "ISO 2022 IR 87"), *HALF_WIDTH),
        (("", "ISO 2022 IR 87", "ISO 2022 IR 159"), b"\x1b$(D\x30\x21\x1b(B", "丂"),
        (("", "ISO 2022 IR 149"), *KOREAN),
        (("ISO 2022 IR 149",), *KOREAN),
        (("ISO 2022 IR 100", "ISO 2022 IR 149"), b"M\xfcller=\x1b$)C\xfb\xf3^M\xfc", "Müller=洪^Mü"),
        (("", "ISO 2022 IR 58"), *CHINESE),
        (("ISO 2022 IR 100", "ISO 2022 IR 144"), b"\xfc^\x1b-L\xdf=\xfc", "ü^п=ü"),
        (("ISO_IR 13",), b"\xd4\xcf\\A~", "ﾔﾏ¥A‾"),
        (("ISO_IR 100",), b"M\xfcller", "Müller"),
        (("ISO_IR 144",), b"\xbb\xee\xda", "Люк"),
        (("ISO_IR 126",), b"\xc4\xe9\xef\xed", "Διον"),
        (("ISO_IR 166",), b"\xbb\xc3\xd0", "ประ"),
        (("ISO_IR 203",), b"\xa4", "€"),
        (("ISO_IR 192",), "Wáng^小东".encode(), "Wáng^小东"),
        (("GB18030",), "王\\^小俽".encode("gb18030"), "王\\^小俽"),
        (("GBK",), "王小东".encode("gbk"), "王小东"),
    ],
)
def test_names_in_every_kind_of_character_set(terms: tuple[str, ...], raw: bytes, expected: str) -> None:
    assert decode(raw, terms, whole=True, is_name=True) == [expected]


@pytest.mark.parametrize(
    "raw", [b"\x1b$)C\xb1\xe2\xc8\xa3\r\n\x1b$)C\xb1\xe6\r\n", b"\x1b$)C\xb1\xe2\xc8\xa3\r\n\xb1\xe6\r\n"]
)
def test_korean_goes_on_after_its_first_line(raw: bytes) -> None:
    """The Standard asks for the escape sequence in each line; senders write it in the first."""
    assert decode(raw, ("", "ISO 2022 IR 149"), whole=True) == ["기호\r\n길\r\n"]


@pytest.mark.parametrize(
    ("terms", "raw", "expected"),
    [
        ((), "Wirbelsäule".encode(), "Wirbelsäule"),
        ((), "Wirbelsäule".encode("latin_1"), "Wirbelsäule"),
        (("ISO_IR 192",), "Wirbelsäule".encode("latin_1"), "Wirbelsäule"),
        (("NONSENSE",), "Wirbelsäule".encode("latin_1"), "Wirbelsäule"),
        (("ISO-IR 100",), b"\xe4", "ä"),
        (("ISO IR 144",), b"\xbb", "Л"),
        (("UTF-8",), "ä".encode(), "ä"),
        ((), b"\x1b$B;3ED\x1b(B", "山田"),
        (("", "ISO 2022 IR 149"), b"\xb1\xe6", "길"),
        (("ISO_IR 13",), b"\x83\x5c", "ソ"),  # Shift JIS
        (("", "ISO 2022 IR 87"), b"a\x1b", "a"),
        (("", "ISO 2022 IR 87"), b"\x1b$B;", "�"),
    ],
)
def test_what_is_declared_wrongly_or_not_at_all(terms: tuple[str, ...], raw: bytes, expected: str) -> None:
    assert decode(raw, terms, whole=True) == [expected]


def test_a_backslash_separates_values_only_where_there_may_be_several() -> None:
    assert decode(b"A\\B", (), whole=False) == ["A", "B"]
    assert decode(b"A\\B", (), whole=True) == ["A\\B"]
    assert decode(b"A\\\x1b$B;\\\x1b(B\\C", ("", "ISO 2022 IR 87"), whole=False) == ["A", "施", "C"]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"  4711 ", "  4711"),
        (b"47\t11", "47\t11"),
        (b"7" * 70, "7" * 70),
        (b"47\\11 ", "47\\11"),
        (b"4711\0", "4711"),
    ],
)
def test_identifiers_are_read_as_they_stand(raw: bytes, expected: str) -> None:
    header = header_of(make_cr(PatientID=raw, AccessionNumber=raw))
    assert (header.patient_id, header.accession_number) == (expected, expected)


def test_descriptions_are_read_in_the_film_s_character_set() -> None:
    header = header_of(
        make_cr(
            SpecificCharacterSet=["", "ISO 2022 IR 58"], StudyDescription=b"\x1b$)A\xd1\xfc\xd7\xb5 lumbar"
        )
    )
    assert header.study_description == "腰椎 lumbar"
    assert "腰椎 lumbar" in header.descriptions
