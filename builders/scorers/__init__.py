"""Who gives scores: a checkpoint, the teacher, or code alone."""

__all__ = ["askers", "by_code"]
