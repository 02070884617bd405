"""Archives that films are fetched from: by DICOMweb, and by query and retrieve.

``archive`` says what an archive can be asked; ``dicomweb`` (on ``web``, the HTTP session) and ``retrieve`` ask. No
database and no spool: what comes is handed on. May import: ``domain``, ``dicom``, ``settings``.

Begin with ``archive.py``.
"""
