"""Encoders, tokenizers, devices and what makes them fast. Stands on data and storage."""
