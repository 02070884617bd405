"""Modules that are imported when something of them is first asked for: who asks the database needs no numpy."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Later:
    """Stands for a module; imports it at the first attribute, and remembers each attribute that was asked for.

    Type checkers see the module itself::

        if TYPE_CHECKING:
            import numpy as np
        else:
            np = Later("numpy")
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(import_module(self._name), attribute)
        setattr(self, attribute, value)
        return value
