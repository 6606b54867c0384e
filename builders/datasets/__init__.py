"""Any dataset's rows in: files and folders, their texts, conversations, mixes."""
