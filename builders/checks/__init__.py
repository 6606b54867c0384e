"""What a function must pass: structure, types, docstrings, imports, names, sensitive content, topic."""

__all__ = ["docstrings", "imports", "names", "sensitive", "structure", "topics", "types"]
