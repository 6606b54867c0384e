"""One module per table, with the name of the table. It reads other tables and writes that one.

Everything else stands in rooms: folders, one per subject. Code outside a room uses only the names
in the room's `__all__`.
"""
