"""What survives a crash: the spool of files and the ledger of facts; knows no DICOM library.

From below: ``tables`` and ``engine``; ``rows`` and ``states`` (which state may follow which: docs/state-machines.md);
beside one another the legs of a study's way, ``arrivals``, ``studies``, ``recording``, ``outbox``, ``commitments``, and
``files``, ``audit``, ``counts``; on top ``ledger``, one method for each transaction, and ``queries`` for people.

May import: ``domain``, ``settings``. Begin with ``ledger.py``.
"""
