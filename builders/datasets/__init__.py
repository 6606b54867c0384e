"""Any dataset's rows in: files and folders, their texts, conversations, mixes."""

__all__ = ["conversations", "folders", "mixes", "places", "rows", "tables", "texts"]
