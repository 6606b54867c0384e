"""What runs inside a box. `builders/sandbox/box.py` sends these modules in; nothing here runs out."""
