"""What is measured of a function: structure, types, docstrings, imports, names, secrets, topic."""

__all__ = ["docstrings", "imports", "names", "sensitive", "structure", "topics", "types"]
