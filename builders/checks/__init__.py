"""What is measured of a function: structure, types, docstrings, imports, names, secrets, topic."""

__all__ = [
    "certain_types",
    "docstrings",
    "imports",
    "names",
    "sensitive",
    "structure",
    "topics",
    "type_names",
    "types",
]
