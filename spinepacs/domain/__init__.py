"""What is spoken of: levels, outlines, films, measures, signs, findings, and the words for them.

Values without behaviour beyond their own consistency; every other part speaks in them.

May import: numpy, pydantic for what is stored as JSON, and nothing of spinepacs above ``errors``. Begin with
``findings.py``: a ``Reading`` holds the rest.
"""
