"""Any dataset's rows in: files and folders, their texts, conversations, mixes."""

__all__ = ["conversations", "mixes", "rows", "texts"]
