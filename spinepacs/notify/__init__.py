"""Who is told when something breaks, or is found: mails and webhooks, by the rules of the settings.

``watch`` looks what there is to tell and writes it into the ledger; one ``herald`` for each ``[[notifications]]`` tells
it, as a ``digest``, by ``mail`` or ``webhook``. Nothing waits for either of them: they have a process of their own.

May import: ``delivery`` (HTTP), ``store``. Begin with ``watch.py``.
"""
