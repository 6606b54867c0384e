"""Benchmark tasks: how files are read, how a model is asked, and how its answers are graded."""

__all__ = [
    "asking", "environments", "extraction", "files", "grading", "jobs", "literals", "obstacles", "programs",
    "questions", "references", "rows", "sample_files", "saved", "statistics", "stored_cases", "summary", "tasks",
]  # fmt: skip
