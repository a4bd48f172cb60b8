"""Files, locks and checksums; models and data from the hub or from packages. Imports only errors and the schema."""
