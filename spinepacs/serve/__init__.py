"""The running thing: one supervisor and its child processes, work handed out with limits, health, upkeep of the spool.

May import: everything but ``cli``, ``training``, ``batch`` and ``check``. Begin with ``daemon.py``; what each child is
stands in ``parts.py``, how work is handed out in ``dispatch.py``, what is done with it in ``worker.py``.
"""
