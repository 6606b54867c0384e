"""How superior samples come in.

A teacher is asked, docstrings stand in for it, or a file is imported.
"""

__all__ = ["asking", "docstrings", "importing", "rows"]
