"""A study as a table on the screen for a radiologist, film by film and region by region.

Begin with ``draw.py``.
"""
