"""How superior samples come in.

A teacher is asked, perhaps again, docstrings stand in for it, or a file is imported.
"""

__all__ = ["asked", "asked_again", "asking", "docstrings", "importing", "rows", "unusable_share"]
