"""What a function must pass: structure, types, docstrings, imports, names, sensitive content."""

__all__ = ["docstrings", "imports", "names", "sensitive", "structure", "types"]
