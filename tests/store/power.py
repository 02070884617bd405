"""Power loss, simulated from what a real process asked of the kernel: whatever was not fsynced may be gone.

strace writes down a receiver's calls; :class:`Disk` plays them back on a model that keeps two states of every file
and folder: what processes see, and what is promised to survive. POSIX promises little: a file's bytes after ``fsync``
of the file, a name after ``fsync`` of its folder, and nothing about the order of the rest. ext4 and XFS do more.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CALLS = (
    "open", "openat", "creat", "close", "write", "pwrite64", "writev", "pwritev", "ftruncate", "truncate", "fsync",
    "fdatasync", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "link", "linkat",
    "sendto", "sendmsg", "sync_file_range", "fallocate", "copy_file_range", "sendfile", "dup", "dup2", "dup3",
)  # fmt: skip
STRACE = ("-f", "-qq", "-xx", "-s", "10000000", "-e", f"trace={','.join(CALLS)}", "-e", "signal=none")

_LINE = re.compile(r"(\d+) +(.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_SUCCESS = re.compile(rb"\x00\x00\x00\x09\x02\x00\x00\x00\x00\x00")
"""(0000,0900) Status, two bytes, 0x0000: PS3.7 E.1."""
_AFFECTED = re.compile(rb"\x00\x00\x00\x10(.)\x00\x00\x00([0-9.]+)", re.DOTALL)
"""(0000,1000) AffectedSOPInstanceUID."""


@dataclass(frozen=True)
class Call:
    """One call to the system: its strings, the numbers around them, and what it returned."""

    name: str
    strings: tuple[bytes, ...]
    numbers: tuple[int, ...]
    flags: str
    result: int
    begun: int = 0
    """Number of calls that had ended when it began: an fsync covers no write that ended later."""

    @property
    def acknowledged(self) -> str | None:
        """SOP Instance UID that this call answers with success, if it does."""
        if self.name not in ("sendto", "sendmsg", "write") or not self.strings:
            return None
        affected = _AFFECTED.search(self.strings[0])
        answered = _SUCCESS.search(self.strings[0])
        return affected[2].decode() if affected and answered else None


def parse(text: str) -> list[Call]:
    """Calls of a log of strace, in the order in which they ended; those that failed are left out."""
    begun: dict[str, tuple[str, int]] = {}
    calls: list[Call] = []
    for line in text.splitlines():
        match = _LINE.match(line)
        assert match, line[:200]
        thread, said = match[1], match[2]
        start = len(calls)
        if said.endswith("<unfinished ...>"):
            begun[thread] = (said.removesuffix("<unfinished ...>"), start)
            continue
        if resumed := _RESUMED.match(said):
            first, start = begun.pop(thread)
            said = first + resumed[1]
        call = _CALL.match(said)
        if call and call[3] != "?" and int(call[3]) >= 0:
            strings = tuple(bytes.fromhex(found.replace("\\x", "")) for found in _STRING.findall(call[2]))
            rest = _STRING.sub("", call[2])
            numbers = tuple(int(number) for number in re.findall(r"(?<![\w.])\d+(?!\w)", rest))
            calls.append(Call(call[1], strings, numbers, rest, int(call[3]), start))
    return calls


@dataclass
class Node:
    """A file or folder: what processes see, and what would survive."""

    is_folder: bool
    content: bytearray = field(default_factory=bytearray)
    names: dict[str, Node] = field(default_factory=dict)
    safe_content: bytes = b""
    safe_names: dict[str, Node] = field(default_factory=dict)
    history: list[tuple[int, bytes]] = field(default_factory=list)
    """What it held after each call, oldest first: what an fsync that begins then covers."""


State = dict[str, bytes | None]
"""A state of the disk: content by path, None for a folder."""

_Look = Callable[[Node], tuple[dict[str, Node], bytes]]
"""Names and content of a node, as one believes them to be."""


class Disk:
    """One folder of a file system, and its calls.

    Parameters
    ----------
    root
        Absolute path of the folder, which is there and empty before the first call; all else is ignored.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._top = Node(is_folder=True)
        self._open: dict[int, tuple[Node, list[int], bool]] = {}
        self._now = 0

    def play(self, call: Call) -> bool:
        """Play one call back; whether it touched the folder."""
        self._now += 1
        method = getattr(self, f"_{call.name}", None)
        if method is not None:
            return bool(method(call))
        folder_is_ours = any(text.decode(errors="replace").startswith(self._root) for text in call.strings)
        is_ours = bool(call.numbers) and call.numbers[0] in self._open
        if folder_is_ours or is_ours:
            raise NotImplementedError(call.name)
        return False

    # -- what survives -------------------------------------------------------------------------------------

    def states(self, dice: random.Random) -> Iterator[tuple[str, State]]:
        """What may be on the disk when power is lost now."""
        yield (
            "nothing but what was fsynced",
            dict(self._walk(lambda node: (node.safe_names, node.safe_content))),
        )
        yield "names, no bytes", dict(self._walk(lambda node: (node.names, node.safe_content)))
        yield "everything", dict(self._walk(lambda node: (node.names, bytes(node.content))))
        yield "by chance", dict(self._walk(lambda node: self._by_chance(node, dice)))

    def _walk(
        self, look: _Look, node: Node | None = None, path: str = ""
    ) -> Iterator[tuple[str, bytes | None]]:
        for name, child in look(node or self._top)[0].items():
            below = f"{path}/{name}" if path else name
            if child.is_folder:
                yield below, None
                yield from self._walk(look, child, below)
            else:
                yield below, look(child)[1]

    @staticmethod
    def _by_chance(node: Node, dice: random.Random) -> tuple[dict[str, Node], bytes]:
        names = {
            name: child
            for name in sorted({*node.names, *node.safe_names})
            if (child := dice.choice([node.names, node.safe_names]).get(name))
        }
        seen = [node.safe_content, *(content for _, content in node.history[-8:])]
        return names, dice.choice(seen)

    # -- the calls -----------------------------------------------------------------------------------------

    def _find(self, text: bytes) -> tuple[Node, str] | None:
        """Folder and name of a path inside the root."""
        path = text.decode()
        if not path.startswith(self._root + "/"):
            return None
        *parents, name = path.removeprefix(self._root + "/").strip("/").split("/")
        node = self._top
        for part in parents:
            node = node.names[part]
        return node, name

    def _openat(self, call: Call) -> bool:
        self._open.pop(call.result, None)
        if call.strings[0].decode() == self._root:
            self._open[call.result] = (self._top, [0], False)
            return False
        place = self._find(call.strings[0])
        if place is None:
            return False
        folder, name = place
        is_new = name not in folder.names
        if is_new:
            assert "O_CREAT" in call.flags, call
            folder.names[name] = Node(is_folder=False)
        node = folder.names[name]
        if "O_TRUNC" in call.flags and not is_new:
            self._change(node, bytearray())
        self._open[call.result] = (node, [0], "O_APPEND" in call.flags)
        return is_new

    def _close(self, call: Call) -> bool:
        self._open.pop(call.numbers[0], None)
        return False

    def _write(self, call: Call) -> bool:
        if call.numbers[0] not in self._open:
            return False
        node, position, appends = self._open[call.numbers[0]]
        position[0] = len(node.content) if appends else position[0]
        self._put(node, position[0], call.strings[0][: call.result])
        position[0] += call.result
        return True

    def _pwrite64(self, call: Call) -> bool:
        if call.numbers[0] not in self._open:
            return False
        self._put(self._open[call.numbers[0]][0], call.numbers[-1], call.strings[0][: call.result])
        return True

    def _ftruncate(self, call: Call) -> bool:
        if call.numbers[0] not in self._open:
            return False
        node = self._open[call.numbers[0]][0]
        self._change(node, node.content[: call.numbers[1]].ljust(call.numbers[1], b"\0"))
        return True

    def _put(self, node: Node, start: int, data: bytes) -> None:
        content = node.content.ljust(start, b"\0")
        content[start : start + len(data)] = data
        self._change(node, content)

    def _change(self, node: Node, content: bytearray) -> None:
        node.content = content
        node.history.append((self._now, bytes(content)))

    def _fsync(self, call: Call) -> bool:
        if call.numbers[0] not in self._open:
            return False
        node = self._open[call.numbers[0]][0]
        if node.is_folder:
            node.safe_names = dict(node.names)
        covered = [content for when, content in node.history if when <= call.begun]
        if covered:
            node.safe_content = covered[-1]
            node.history = [entry for entry in node.history if entry[0] > call.begun]
        return True

    _fdatasync = _fsync

    def _rename(self, call: Call) -> bool:
        source, target = self._find(call.strings[0]), self._find(call.strings[1])
        if source is None or target is None:
            assert source is target, "nothing is moved in or out"
            return False
        target[0].names[target[1]] = source[0].names.pop(source[1])
        return True

    _renameat = _renameat2 = _rename

    def _unlink(self, call: Call) -> bool:
        place = self._find(call.strings[0]) if call.strings[0].startswith(b"/") else self._below(call)
        if place is None:
            return False
        del place[0].names[place[1]]
        return True

    _rmdir = _unlinkat = _unlink

    def _below(self, call: Call) -> tuple[Node, str] | None:
        """Folder and name of a path relative to an open folder."""
        found = self._open.get(call.numbers[0])
        return (found[0], call.strings[0].decode()) if found else None

    def _mkdir(self, call: Call) -> bool:
        place = self._find(call.strings[0])
        if place is None:
            return False
        place[0].names[place[1]] = Node(is_folder=True)
        return True


def write_state(folder: Path, state: State) -> None:
    """Put a state on the real disk."""
    folder.mkdir()
    for path, content in state.items():
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
