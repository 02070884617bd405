"""``spinepacs process``: the same pipeline over files and folders, by several processes, without daemon and database.

May import: everything but ``cli``, ``training``, ``serve``, ``check`` and ``status``. Begin with ``run.py``, which
hands films out and hears what became of them; what a worker does is in ``worker.py``. Everything that outlives a
process lies below ``--out``: the results, and in ``.spinepacs`` one record for each film (``records.py``), whose hand
it is in (``sharing.py``) and the key of the pseudonyms (``pseudonym.py``). The tables are made of the records
(``tables.py``).
"""
