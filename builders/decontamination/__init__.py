"""Finding benchmark tasks in texts: by likeness (`detectors`) and by running code (`execution`)."""
