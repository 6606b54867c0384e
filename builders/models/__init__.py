"""Real models that come from a package index, as folders that every command can load."""

__all__ = ["smollm2", "wheels"]
