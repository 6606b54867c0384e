"""Contamination and influence of any dataset, without a store."""
