"""The settings: one TOML file, validated once, frozen, passed, never ambient.

May import: ``errors``. Begin with ``sections.py``, where every field has its unit, its default and the reason for it.
"""
