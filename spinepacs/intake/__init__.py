"""How images come in: the listener, the watched folder, assembly into studies, selection.

Bytes are made durable (spool, then ledger) before anybody is told that they are; nothing is decoded on the way.

May import: ``dicom.reading``, ``store``. Begin with ``listener.py``, or ``watcher.py`` for the folder: when a file is
looked at; ``taking.py`` says what is done with it, ``folder.py`` what lies where.
"""
