"""The console: pages for people, to see the queue, studies and their films, the rules, and where results go.

May import: everything but ``cli``, ``training``, ``serve``, ``batch``, ``check`` and ``status``; of the store its
questions and the ledger's commands, never its tables. Begin with ``app.py``, which lists the pages; who may see them is
in ``guard.py``, how the process runs in ``server.py``. What a foreign file is decoded for happens in processes of its
own (``darkroom.py``).
"""
