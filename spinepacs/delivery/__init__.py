"""Outbox to PACS, and the PACS's promise to keep what it got.

One ``courier`` for each destination takes what is due; ``sending`` does it and says how it went; ``commitment`` asks
for the promise. Whether and when to try again is decided in the courier and nowhere else.

May import: ``dicom``, ``store``. Begin with ``courier.py``.
"""
