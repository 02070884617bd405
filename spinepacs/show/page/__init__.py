"""A study as one HTML file to be looked at and printed: each film a page with its picture, tables and conclusions.

Begin with ``pages.py``.
"""
