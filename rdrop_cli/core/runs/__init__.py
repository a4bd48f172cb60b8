"""Run folders: what is in them, who has them, what they record. Loads no torch."""
