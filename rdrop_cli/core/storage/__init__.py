"""Files, locks and checksums, and what comes from hubs and packages. Imports errors and the schema alone."""
