"""Files, locks and checksums; models and data from hub or packages. Imports only errors, progress and the schema."""
