"""Zip archives: honest ones of every maker, and those that lie about size, names and depth."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from spinepacs.errors import BadInput
from spinepacs.intake import archive
from tests import films


def film(number: int = 1) -> bytes:
    buffer = io.BytesIO()
    films.make_dx(seed=str(number)).save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def pack(
    path: Path, *members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(path, "w", method) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return path


def packed(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as inner:
        for name, content in members:
            inner.writestr(name, content)
    return buffer.getvalue()


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def refused(path: Path, target: Path, maximum_mb: int = 100) -> str:
    with pytest.raises(BadInput) as caught:
        archive.unpack(path, target, maximum_mb)
    assert not target.exists(), "nothing is left behind"
    assert names(target.parent) == [path.name]
    return caught.value.reason_code


def test_films_pictures_and_tables_come_out_and_the_rest_stays(tmp_path: Path) -> None:
    members = {
        "CD/DICOM/IM1": film(), "CD/DICOMDIR": b"\0" * 128 + b"DICM", "CD/film.png": b"\x89PNG\r\n\x1a\n",
        "CD/film.tif": b"II*\0", "films.csv": b"file\n", "CD/viewer.exe": b"MZ\x90\0", "CD/readme.txt": b"hello",
        "CD/.DS_Store": b"x", "__MACOSX/CD/._IM1": film(),
    }  # fmt: skip
    found = archive.unpack(pack(tmp_path / "a.zip", *members.items()), tmp_path / "out", 100)
    assert names(tmp_path / "out") == [
        "CD/DICOM/IM1",
        "CD/DICOMDIR",
        "CD/film.png",
        "CD/film.tif",
        "films.csv",
    ]
    assert (found.files, found.left) == (5, 2)
    assert (tmp_path / "out/CD/DICOM/IM1").read_bytes() == film()


def test_an_archive_in_an_archive_is_opened_and_one_in_that_is_not(tmp_path: Path) -> None:
    inner = packed(("film.dcm", film()))
    found = archive.unpack(pack(tmp_path / "a.zip", ("b.zip", inner)), tmp_path / "out", 100)
    assert found.files == 1
    assert names(tmp_path / "out") == ["b.zip.unpacked/film.dcm"]
    deeper = pack(tmp_path / "a.zip", ("c.zip", packed(("b.zip", inner))))
    (tmp_path / "out" / "b.zip.unpacked" / "film.dcm").unlink()
    (tmp_path / "out" / "b.zip.unpacked").rmdir()
    (tmp_path / "out").rmdir()
    assert refused(deeper, tmp_path / "out") == "ARCHIVE_NESTED"


def link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("link.dcm")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    "name", ["../film.dcm", "/etc/film.dcm", "a/../../film.dcm", "..\\film.dcm", "C:\\film.dcm", "x" * 220, link()],
    ids=["up", "absolute", "up later", "up, Windows", "drive", "long", "link"],
)  # fmt: skip
def test_names_that_lead_elsewhere(tmp_path: Path, name: str | zipfile.ZipInfo) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = pack(folder / "a.zip", ("good.dcm", film()), (name, film(2)))
    assert refused(path, folder / "out") == "ARCHIVE_NAMES"
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("pair", [("a.dcm", "A.DCM"), ("a", "a/b")], ids=["case", "a folder as well"])
def test_names_that_are_one(tmp_path: Path, pair: tuple[str, str]) -> None:
    path = pack(tmp_path / "a.zip", *((name, film()) for name in pair))
    assert refused(path, tmp_path / "out") == "ARCHIVE_NAMES"


def test_a_bomb_is_counted_as_it_goes_off_and_not_as_it_says(tmp_path: Path) -> None:
    bomb = film() + b"\0" * 30_000_000
    path = pack(tmp_path / "a.zip", ("film.dcm", bomb))
    assert path.stat().st_size < 1_000_000
    assert refused(path, tmp_path / "out", maximum_mb=10) == "ARCHIVE_TOO_LARGE"


def test_bombs_in_bombs_share_one_limit(tmp_path: Path) -> None:
    inner = packed(("film.dcm", film() + b"\0" * 6_000_000))
    path = pack(tmp_path / "a.zip", ("1.zip", inner), ("2.zip", inner))
    assert refused(path, tmp_path / "out", maximum_mb=10) == "ARCHIVE_TOO_LARGE"


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAXIMUM_FILES", 3)
    inner = packed(*((f"{number}.dcm", film(number)) for number in range(3)))
    assert refused(pack(tmp_path / "a.zip", ("b.zip", inner)), tmp_path / "out") == "ARCHIVE_TOO_LARGE"
    many = pack(tmp_path / "a.zip", *((f"{number}.dcm", film(number)) for number in range(4)))
    assert refused(many, tmp_path / "out") == "ARCHIVE_TOO_LARGE"


def test_a_list_of_contents_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as many:
        for number in range(archive.MAXIMUM_FILES + 1):
            many.writestr(f"{'x' * 1000}{number}", b"")
    assert refused(path, tmp_path / "out") == "ARCHIVE_TOO_LARGE"


@pytest.mark.parametrize("share", [0.2, 0.9, 0.999])
def test_one_that_is_cut_off(tmp_path: Path, share: float) -> None:
    path = pack(tmp_path / "a.zip", ("film.dcm", film()))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert refused(path, tmp_path / "out") == "ARCHIVE_DAMAGED"


def test_one_whose_bytes_were_changed(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", ("film.dcm", film()))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    path.write_bytes(data)
    assert refused(path, tmp_path / "out") == "ARCHIVE_DAMAGED"


def test_passwords_and_other_methods_are_said(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", ("film.dcm", film()), method=zipfile.ZIP_LZMA)
    assert refused(path, tmp_path / "out") == "ARCHIVE_METHOD"
    data = bytearray(pack(tmp_path / "a.zip", ("film.dcm", film())).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert refused(path, tmp_path / "out") == "ARCHIVE_ENCRYPTED"


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ([("readme.txt", b"hello")], "NO_FILM_IN_ARCHIVE"),
        ([], "NO_FILM_IN_ARCHIVE"),
        ([("[Content_Types].xml", b"<"), ("word/media/image1.png", b"\x89PNG\r\n\x1a\n")], "NOT_DICOM"),
    ],
    ids=["text", "empty", "a letter"],
)
def test_no_film(tmp_path: Path, members: list[tuple[str, bytes]], code: str) -> None:
    assert refused(pack(tmp_path / "a.zip", *members), tmp_path / "out") == code
