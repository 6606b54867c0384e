"""Finding benchmark tasks in texts: by likeness (`detectors`), by what sentences mean (`meaning`),
and by running code (`execution`).
"""

__all__ = ["detectors", "execution", "meaning"]
