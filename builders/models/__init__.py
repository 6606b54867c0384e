"""Real models that come from a package index, as folders that every command can load.

What a recipe needs of local models is looked at here, too.
"""

__all__ = ["condition", "needed", "scratch", "smollm2", "wheels"]
