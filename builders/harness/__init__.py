"""Benchmark tasks: the layouts of their files, and the programs that grade an answer."""

__all__ = ["asking", "files", "grading", "programs", "statistics"]
