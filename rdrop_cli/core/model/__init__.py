"""The encoder: finding, loading, device and precision, and what makes it fast. May import data and storage."""
