"""Benchmark tasks: how files are read, how a model is asked, and how its answers are graded."""

__all__ = ["asking", "files", "grading", "literals", "programs", "questions", "statistics", "tasks"]
