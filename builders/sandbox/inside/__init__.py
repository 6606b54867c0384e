"""What runs inside a box. `builders/sandbox/box.py` sends the text of these modules in."""

__all__ = ["codec", "report"]
