"""What a function must pass: structure, types, docstrings, imports, names, sensitive content."""
