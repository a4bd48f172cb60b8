"""Labelled text: reading, columns, labels, splits. May import storage; nothing of models, torch-free."""
