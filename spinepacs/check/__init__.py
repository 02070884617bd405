"""``spinepacs check``: is everything there that the daemon needs? Nothing is made, changed or sent but C-ECHO.

May import: what ``serve`` may. Begin with ``checks.py``; ``places`` looks at files, folders and ports of this machine,
``partners`` asks those that the daemon speaks with.
"""
