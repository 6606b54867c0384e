"""Any dataset's rows in: files and folders, their texts, conversations, mixes."""

__all__ = ["conversations", "folders", "json_rows", "mixes", "places", "rows", "tables", "texts"]
