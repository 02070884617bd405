"""Write the tables into docs/conformance.md."""

from __future__ import annotations

from tests.conformance.markdown import PAGE, filled
from tests.conformance.tables import TABLES

if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), TABLES), encoding="utf-8")
    print(PAGE)
