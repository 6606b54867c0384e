"""Benchmark tasks: the layouts of their files, and the programs that grade an answer."""

__all__ = ["files", "programs"]
