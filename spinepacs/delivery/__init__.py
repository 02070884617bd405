"""Outbox to destinations, and the PACS's promise to keep what it got.

One ``courier`` for each destination takes what is due; ``kinds`` knows which module sends it, ``sending`` (C-STORE),
``stow``, ``fhir`` or ``mllp``, and each says as a ``verdict`` how it went; ``commitment`` asks for the promise. Whether
and when to try again is decided in the courier and nowhere else.

May import: ``dicom``, ``exchange``, ``store``. Begin with ``courier.py``.
"""
