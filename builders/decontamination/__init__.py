"""Finding benchmark tasks in texts: by likeness (`detectors`) and by running code (`execution`)."""

__all__ = ["detectors", "execution"]
