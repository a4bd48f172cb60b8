"""Run folders: their contents, the lock on them, and what they record. Loads no torch."""
