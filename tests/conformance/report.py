"""Content items of the report, and the codes of all results."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset

from tests.conformance.markdown import table
from tests.conformance.objects import samples


def _items(dataset: Dataset) -> Iterator[Dataset]:
    for item in dataset.get("ContentSequence", []):
        yield item
        yield from _items(item)


def concepts() -> str:
    """Concepts of the report's content items, with the value types and the templates that they have."""
    found: dict[tuple[str, str, str], tuple[set[str], set[str]]] = {}
    reports = [one for sample in samples() for one in (sample.objects["SR"], sample.corrected_report)]
    for report in reports:
        for item in (report, *_items(report)):
            for name in item.get("ConceptNameCodeSequence", []):
                key = name.CodingSchemeDesignator, name.CodeValue, name.CodeMeaning
                types, templates = found.setdefault(key, (set(), set()))
                types.add(item.ValueType)
                templates.update(one.TemplateIdentifier for one in item.get("ContentTemplateSequence", []))
    rows = [
        (f"`{value}`", scheme, meaning, ", ".join(sorted(types)), ", ".join(sorted(templates)))
        for (scheme, value, meaning), (types, templates) in sorted(found.items())
    ]
    return table(("code", "scheme", "meaning", "value types", "TID"), rows)


def codes_in_results() -> set[tuple[str, str]]:
    """Scheme and value of every code in every sample."""
    found: set[tuple[str, str]] = set()
    for sample in samples():
        for dataset in (*sample.objects.values(), sample.corrected_report):
            found |= _codes_of(dataset)
    return found


def _codes_of(dataset: Dataset) -> set[tuple[str, str]]:
    found = {(dataset.CodingSchemeDesignator, dataset.CodeValue)} if "CodeValue" in dataset else set()
    for element in dataset:
        if element.VR == "SQ":
            found = found.union(*(_codes_of(item) for item in element.value))
    return found
