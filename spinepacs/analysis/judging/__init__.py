"""Measures and pixels → findings: signs with computed and published grades, and a conclusion for each region.

Every threshold is in ``config/grading.toml``, read by ``policy``; docs/grading.md explains the rules.

May import: ``analysis.naming``, ``analysis.measuring``, ``domain``. Begin with ``grade.py``.
"""
