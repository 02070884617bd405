"""File → :class:`~spinepacs.domain.study.Radiograph`, or a refusal, under limits that hold before anything is decoded.

``parse`` reads the dataset (``bounded``) and its values (``characters``, ``moments``), ``header`` what selection needs,
``pixels`` decodes, ``windowing`` applies modality and VOI transformations (``luts``) to the bits that are the pixel's
(``bits``), ``spacing`` finds the size of a pixel, ``source`` makes the header that results inherit.

May import: ``domain``, ``dicom.identity``. Begin with ``film.py``.
"""
