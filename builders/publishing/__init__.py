"""Our datasets out: which rows a set has, and the folder that holds them."""

__all__ = ["card", "folder", "sets"]
