"""How sure a measured number is, whether two differ, and which weights tell two kinds apart."""

__all__ = ["areas", "comparison", "intervals", "weighting"]
