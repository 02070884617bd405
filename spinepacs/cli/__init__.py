"""The command line: commands only, no logic, one module for each family of them.

What a command needs is imported inside it, so that ``--help`` is quick and needs no extra.

May import: everything. Begin with ``main.py``.
"""
