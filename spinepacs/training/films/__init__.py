"""Synthetic radiographs with exact truth: a posed donor made of surfaces, projected, made to look like a film.

The order of the work: ``anatomy`` (surfaces, with ``mesh`` and ``landmarks``), ``build`` (a person's own shape),
``pose`` (curves, discs, slips: ``shape``, ``curves``, ``discs``), ``body`` (``flesh``, ``scapula``, ``hand``),
``signs``, ``implants``, ``xray`` (projection), ``look`` and ``rough`` (the film), ``truth`` (labels,
measures), ``dicom``.

Begin with ``synthesise.py``.
"""
