"""How sure a measured number is, and whether two of them differ: intervals and tests."""

__all__ = ["areas", "comparison", "intervals"]
