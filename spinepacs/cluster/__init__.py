"""More than one machine: who is there, who has died, and what wakes them.

``membership`` says in the ledger that this machine lives and takes over from those that do not; ``engine`` (the only
place that knows Procrastinate) wakes a machine when a study is ready. Neither knows more than the ledger does.

May import: ``store``, ``settings``. Begin with ``membership.py``.
"""
