"""Every translation between DICOM datasets and the domain.

``reading`` takes files in; ``segmentation``, ``report`` and ``overlay`` write a reading's three objects, whose
identity (UIDs, patient, study) comes from ``identity``; ``wrap`` makes DICOM of pictures.

May import: ``domain``. Begin with ``reading/film.py`` for what comes in, ``segmentation.py`` for what goes out.
"""
