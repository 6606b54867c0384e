"""Contamination and influence of any dataset, without a store."""

__all__ = ["contamination", "influence", "influence_request"]
