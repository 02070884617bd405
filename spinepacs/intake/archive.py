"""Zip archives of the watched folder: unpacked into a folder beside them, under limits.

Sizes are counted as they come and not as an archive states them; names are checked before anything is written.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from spinepacs.dicom.reading.kinds import PICTURE, START_BYTES, ZIP, no_dicom
from spinepacs.errors import BadInput
from spinepacs.store.durable import sync_folder

MAXIMUM_FILES = 10_000
"""Files in an archive, those of archives in it included."""
MAXIMUM_DEPTH = 2
"""An archive in an archive is opened; one in that is not."""
SUFFIX = ".unpacked"
"""What the folder of an archive's files is called after the archive."""
_MAXIMUM_DIRECTORY_BYTES = MAXIMUM_FILES * 1024
_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = (1 << 16) + 22 + 76
_OFFICE = frozenset({"[Content_Types].xml", "mimetype", "META-INF/MANIFEST.MF"})
_NOBODYS = ("__MACOSX",)
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    struct.error,
    UnicodeDecodeError,
    ValueError,
    OverflowError,
)


@dataclass
class _Budget:
    """What may still be written, for an archive and all archives in it."""

    files: int
    size_bytes: int

    def take(self, files: int, size_bytes: int) -> None:
        self.files -= files
        self.size_bytes -= size_bytes
        if self.files < 0:
            raise BadInput("ARCHIVE_TOO_LARGE", f"it holds more than {MAXIMUM_FILES} files: split it")
        if self.size_bytes < 0:
            raise BadInput(
                "ARCHIVE_TOO_LARGE", "it holds more than watch.archive_maximum_mb, unpacked: split it"
            )


@dataclass(frozen=True)
class Unpacked:
    """What became of an archive: files written, and files of it that are neither films nor tables."""

    files: int
    left: int


def is_zip(path: Path) -> bool:
    """Whether a file is a zip archive, by its first bytes."""
    with path.open("rb") as file:
        return ZIP.match(file.read(4)) is not None


def unpack(archive: Path, target: Path, maximum_mb: int) -> Unpacked:
    """Write the films, pictures and tables of an archive into a folder that does not exist yet, durably.

    Whatever is raised, nothing is left behind.

    Raises
    ------
    BadInput
        ``ARCHIVE_DAMAGED`` (it may still be growing), ``ARCHIVE_ENCRYPTED``, ``ARCHIVE_METHOD``, ``ARCHIVE_NAMES``,
        ``ARCHIVE_TOO_LARGE``, ``ARCHIVE_NESTED``, ``NO_FILM_IN_ARCHIVE``.
    OSError
        If the disk fails or has no room for it.
    """
    target.mkdir(parents=True)
    try:
        found = _unpack(archive, target, _Budget(MAXIMUM_FILES, maximum_mb * 1_000_000), 1)
        if not found.files:
            raise BadInput("NO_FILM_IN_ARCHIVE", "it holds neither DICOM files nor pictures")
        _settle(target)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    return found


def _unpack(archive: Path, target: Path, budget: _Budget, depth: int) -> Unpacked:
    if depth > MAXIMUM_DEPTH:
        raise BadInput("ARCHIVE_NESTED", "archives in archives in archives are not opened: unpack it")
    try:
        with archive.open("rb") as file:
            _check_directory(file.seek(0, os.SEEK_END), _tail(archive))
            with zipfile.ZipFile(file) as opened:
                return _write(opened, target, budget, depth)
    except BadInput:
        raise
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise BadInput("ARCHIVE_NAMES", "a file in it is a folder as well: pack it again") from None
    except _DAMAGE:
        raise BadInput("ARCHIVE_DAMAGED", "the archive is damaged or ends too early: send it again") from None


def _tail(archive: Path) -> bytes:
    with archive.open("rb") as file:
        file.seek(max(0, archive.stat().st_size - _TAIL_BYTES))
        return file.read()


def _check_directory(size_bytes: int, tail: bytes) -> None:
    """Refuse a list of contents that would fill the memory when it is read (APPNOTE 4.3.14 and 4.3.16)."""
    at = tail.rfind(b"PK\x05\x06")
    if at < 0:
        raise zipfile.BadZipFile
    (directory_bytes,) = struct.unpack_from("<L", tail, at + 12)
    large = tail.rfind(b"PK\x06\x06", 0, at)
    if directory_bytes == 0xFFFFFFFF and large >= 0:
        (directory_bytes,) = struct.unpack_from("<Q", tail, large + 40)
    if directory_bytes > size_bytes:
        raise zipfile.BadZipFile
    if directory_bytes > _MAXIMUM_DIRECTORY_BYTES:
        raise BadInput("ARCHIVE_TOO_LARGE", f"it holds more than {MAXIMUM_FILES} files: split it")


def _write(opened: zipfile.ZipFile, target: Path, budget: _Budget, depth: int) -> Unpacked:
    members = list(_members(opened))
    budget.take(len(members), 0)
    # What is stated may be a lie, but an honest archive that does not fit need not be begun.
    if sum(member.file_size for member, _ in members) > shutil.disk_usage(target).free:
        raise OSError(errno.ENOSPC, "there is no room to unpack an archive")
    files = left = 0
    for member, name in members:
        with opened.open(member) as source:
            start = source.read(START_BYTES)
        place = target.joinpath(*name.parts)
        if ZIP.match(start):
            inner = _nested(opened, member, place, budget, depth)
            files, left = files + inner.files, left + inner.left
        elif _is_wanted(name, start):
            _extract(opened, member, place, budget)
            files += 1
        else:
            left += 1
    return Unpacked(files, left)


def _members(opened: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files of an archive with their names, all checked."""
    listed = opened.infolist()
    if _OFFICE & {member.filename for member in listed}:
        raise BadInput("NOT_DICOM", "an office document or a program packed as zip: send the original film")
    seen: set[str] = set()
    for member in listed:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        _check_member(member, name)
        hidden = any(part.startswith(".") for part in name.parts) or name.parts[0] in _NOBODYS
        if member.is_dir() or hidden:
            continue
        if str(name).casefold() in seen:
            raise BadInput("ARCHIVE_NAMES", "two of its files have one name: pack it again")
        seen.add(str(name).casefold())
        yield member, name


def _check_member(member: zipfile.ZipInfo, name: PurePosixPath) -> None:
    outside = name.is_absolute() or ".." in name.parts or not name.parts or ":" in name.parts[0][1:2]
    if outside or any(len(os.fsencode(part)) > 200 for part in name.parts) or len(str(name)) > 1000:
        raise BadInput(
            "ARCHIVE_NAMES", "a file in it has a name that leads elsewhere or is too long: pack it again"
        )
    if stat.S_ISLNK(member.external_attr >> 16):
        raise BadInput("ARCHIVE_NAMES", "it holds symbolic links: pack the files themselves")
    if member.flag_bits & 0x1:
        raise BadInput("ARCHIVE_ENCRYPTED", "it needs a password: pack it without one")
    if member.compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
    ):  # LZMA may ask for 4 GB of memory
        raise BadInput(
            "ARCHIVE_METHOD", "it is packed by a method that is not read: pack it as a plain zip archive"
        )


def _is_wanted(name: PurePosixPath, start: bytes) -> bool:
    """Films, pictures (of other formats too: they are refused by name), archives of other kinds, and tables."""
    if start[128:132] == b"DICM" or PICTURE.match(start) or name.suffix.lower() == ".csv":
        return True
    return no_dicom(start).reason_code in ("PICTURE_FORMAT", "ARCHIVE")


def _nested(
    opened: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path, budget: _Budget, depth: int
) -> Unpacked:
    _extract(opened, member, place, budget)
    target = place.with_name(place.name + SUFFIX)
    try:
        target.mkdir()
        return _unpack(place, target, budget, depth + 1)
    finally:
        place.unlink()


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, place: Path, budget: _Budget) -> None:
    """Write one file, counting what really comes out of it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(member) as source, place.open("xb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            budget.take(0, len(chunk))
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _settle(target: Path) -> None:
    """Remove folders of archives that held no film, and make the names in the others durable, as their files are."""
    for folder, folders, files in os.walk(target, topdown=False):
        if not files and not any(Path(folder, name).exists() for name in folders):
            os.rmdir(folder)
            continue
        sync_folder(Path(folder))
