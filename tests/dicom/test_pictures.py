"""The CSV table of pictures: spreadsheets of all countries, and each mistake named by its line."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest

from spinepacs.dicom.pictures import PictureFacts, Pictures, PictureTable, facts, read_table
from spinepacs.errors import BadInput, Transient

HEADER = "file,patient_id,study_date,spacing_mm,body_part,view,study"
DEFAULT = facts(body_part="LSPINE", spacing_mm=0.2)


def table(
    folder: Path, *lines: str, header: str = HEADER, encoding: str = "utf-8", end: str = "\n"
) -> PictureTable:
    path = folder / "films.csv"
    path.write_bytes(end.join((header, *lines, "")).encode(encoding))
    return read_table(path)


def test_a_line_stands_before_what_holds_for_all(tmp_path: Path) -> None:
    read = table(tmp_path, "a.png,0071,2026-11-20,0.15,C-Spine,lateral,", "sub/b.png,,,,,,")
    pictures = Pictures(DEFAULT, read)
    assert pictures.facts_of(tmp_path / "a.png") == PictureFacts(
        "0071", "20261120", 0.15, "CSPINE", "LATERAL"
    )
    assert pictures.facts_of(tmp_path / "sub/b.png") == DEFAULT
    assert pictures.facts_of(tmp_path / "b.png") == DEFAULT
    assert [pictures.has_no_line(tmp_path / name) for name in ("sub/b.png", "b.png")] == [False, True]
    assert read.lines_without([tmp_path / "a.png"]) == [3]


@pytest.mark.parametrize(
    ("header", "line", "encoding", "end"),
    [
        ("file;patient_id;study_date;spacing_mm", "a.png;0071;20261120;0,15", "utf-8-sig", "\r\n"),
        ("File\tPatient ID\tStudy-Date\tSpacing mm", "a.png\t0071\t2026-11-20\t0.15", "utf-8", "\n"),
        (
            '"file","patient_id","study_date","spacing_mm"',
            '"a.png"," 0071 ","2026-11-20","0.15"',
            "utf-8",
            "\n",
        ),
        ("spacing_mm,study_date,patient_id,file", "0.15,2026-11-20,0071,./a.png", "utf-8", "\n"),
    ],
    ids=["Excel, German", "tabs", "quoted", "another order"],
)
def test_what_spreadsheets_write(tmp_path: Path, header: str, line: str, encoding: str, end: str) -> None:
    read = table(tmp_path, line, "", header=header, encoding=encoding, end=end)
    assert read.errors == ()
    assert read.facts_of(tmp_path / "a.png", PictureFacts()) == facts(
        patient_id="0071", study_date="20261120", spacing_mm=0.15
    )


def test_one_accent_has_two_spellings_and_windows_another_slash(tmp_path: Path) -> None:
    read = table(tmp_path, unicodedata.normalize("NFC", "Röntgen\\Hüfte.png") + ",1,,,,,")
    assert read.row(
        tmp_path / unicodedata.normalize("NFD", "Röntgen") / unicodedata.normalize("NFD", "Hüfte.png")
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a.png,Geheim\\1,,,,,", "line 3: patient_id takes at most 64"),
        (f"a.png,{'9' * 65},,,,,", "line 3: patient_id takes at most 64"),
        ("a.png,1.23E+10,,,,,", "line 3: patient_id was rewritten by a spreadsheet"),
        ("a.png,1,20.11.2026,,,,", "line 3: study_date must be a day like 2026-11-20"),
        ("a.png,1,2026-11-31,,,,", "line 3: study_date must be a day like 2026-11-20"),
        ("a.png,1,2026112,,,,", "line 3: study_date must be a day like 2026-11-20"),
        ("a.png,1,,15,,,", "line 3: spacing_mm must be between 0.01 and 5 mm"),
        ("a.png,1,,nan,,,", "line 3: spacing_mm must be between 0.01 and 5 mm"),
        ("a.png,1,,,Wirbelsäule,,", "line 3: body_part takes at most 16 letters"),
        ("a.png,1,,,,seitlich,", "line 3: view must be one of AP, PA, LATERAL, OBLIQUE"),
        ("a.png,1", "line 3: 2 cells, but 7 columns"),
        (",1,,,,,", "line 3: it names no file"),
        ("ok.png,1,,,,,", "line 3: its file is named in line 2 too"),
        ("a.png,2,,,,,one", "line 3: its study has another patient_id or study_date in line 2"),
    ],
)
def test_a_line_that_is_wrong_is_named_and_the_others_hold(tmp_path: Path, line: str, words: str) -> None:
    read = table(tmp_path, "ok.png,1,,,,,one", line, "later.png,3,,,,,")
    assert len(read.errors) == 1
    assert read.errors[0].startswith(words)
    assert "Geheim" not in read.wrong
    assert read.facts_of(tmp_path / "later.png", PictureFacts()) == PictureFacts("3")
    if line.startswith("a.png"):
        with pytest.raises(BadInput, match="line 3"):
            read.facts_of(tmp_path / "a.png", PictureFacts())


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    read = table(tmp_path, '"a\nb.png",1,,,,,', "", "c.png,1,,9,,,")
    assert read.errors == (
        "line 5: spacing_mm must be between 0.01 and 5 mm: distance of neighbouring pixels",
    )


def test_many_errors_are_told_by_the_first_ones(tmp_path: Path) -> None:
    read = table(tmp_path, *(f"{number}.png,1,,9,,," for number in range(20)))
    assert read.wrong.count("line ") == 8
    assert read.wrong.endswith("and 12 more")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1: there is no column 'file'"),
        (b"Erika Mustermann,1960-01-01\n", "line 1: column 1 has no name that is known"),
        (b"file,patientid\na.png,1\n", "line 1: column 2 has no name that is known"),
        (b"file,view,view\n", "line 1: two columns are called view"),
        (b"file,patient_id\na.png,1\nb.png,M\xfcller\n", "line 3: not UTF-8"),
        (b'file,patient_id\n"a.png,1\n', "no CSV"),
        (b"file,patient_id\n" + b"x" * (11 << 20), "more than 10485760 bytes"),
    ],
    ids=["empty", "no header", "a name mistyped", "a column twice", "Latin-1", "an open quote", "huge"],
)
def test_a_table_that_cannot_be_used_as_a_whole(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "films.csv").write_bytes(content)
    with pytest.raises(BadInput, match=words) as caught:
        read_table(tmp_path / "films.csv")
    assert caught.value.reason_code == "PICTURE_TABLE"
    assert "Erika" not in str(caught.value)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Transient):
        read_table(tmp_path / "films.csv")


@pytest.mark.parametrize("stated", [{"patient_id": None, "view": "", "spacing_mm": None}, {}])
def test_nothing_stated_is_nothing(stated: dict[str, Any]) -> None:
    assert facts(**stated) == PictureFacts()
