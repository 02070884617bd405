"""What highdicom looks up of the Standard, read before it is needed.

It parses 22 MB of JSON with the first object that it makes in a process. Read by the process that the workers are
forked from, it is there once for all of them, and no worker's first film waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from highdicom._standard_utils import (
    get_iod_module_map,
    get_module_attribute_map,
    get_sop_class_iod_map,
)

_Attribute = dict[str, Any]


def load() -> None:
    """Let highdicom read its tables; they stay in its own cache, and take 26 MB of memory instead of 65."""
    get_sop_class_iod_map()
    get_iod_module_map()
    modules: dict[str, list[_Attribute]] = get_module_attribute_map()
    lean = _lean(modules)
    modules.clear()  # the cache holds this very one
    modules.update(lean)


def _lean(modules: Mapping[str, Sequence[_Attribute]]) -> dict[str, list[_Attribute]]:
    """The same table; half of its attributes are there twice, and so are most paths to them: they become one.

    Nothing of the old one is taken over, not even a text: it would hold on to the memory around it.
    """
    texts: dict[str, str] = {}
    paths: dict[tuple[str, ...], list[str]] = {}
    known: dict[tuple[str, str, tuple[str, ...]], _Attribute] = {}

    def fresh(text: str) -> str:
        if text not in texts:
            copy = text.encode().decode()
            texts[copy] = copy
        return texts[text]

    def shared(attribute: _Attribute) -> _Attribute:
        keyword, kind, path = fresh(attribute["keyword"]), fresh(attribute["type"]), attribute["path"]
        words = tuple(map(fresh, path))
        if (keyword, kind, words) not in known:
            own = {"keyword": keyword, "type": kind, "path": paths.setdefault(words, list(words))}
            known[keyword, kind, words] = {**attribute, **own}
        return known[keyword, kind, words]

    return {fresh(name): list(map(shared, attributes)) for name, attributes in modules.items()}
