"""File → :class:`~spinepacs.domain.study.Radiograph`, or a refusal, under limits that hold before anything is decoded.

``parse`` reads the dataset (``bounded``), ``header`` what selection needs, ``pixels`` decodes, ``windowing`` applies
modality and VOI transformations (``luts``), ``spacing`` finds the size of a pixel, ``source`` cleans the header that
results inherit.

May import: ``domain``, ``dicom.identity``. Begin with ``film.py``.
"""
