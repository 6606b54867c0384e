"""How superior samples come in: a teacher is asked, docstrings stand in for one, or a file is imported."""

__all__ = ["asking", "docstrings", "importing", "rows"]
