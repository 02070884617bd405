"""Other systems: what is fetched from archives, and results in the words of FHIR and HL7 v2.

``archive`` says what an archive can be asked; ``dicomweb`` (on ``web``, the HTTP session) and ``retrieve`` ask. No
database and no spool: what comes is handed on. ``documents`` makes FHIR Bundles (``fhir/``) and HL7 messages
(``hl7``), in which ``author`` names who has corrected something, and sends nothing: they go the way of all objects, by
``store``'s outbox and ``delivery``. What is withheld is in none of them.

May import: ``dicom``, ``domain``, ``settings``. Begin with ``archive.py`` or ``documents.py``.
"""
