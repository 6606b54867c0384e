"""One module per table, of the table's name: it reads tables and writes exactly that one.

All else stands in rooms, folders by subject. A room is entered by the names in its `__all__`.
"""
