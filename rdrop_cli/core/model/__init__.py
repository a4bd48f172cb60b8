"""Encoders, tokenizers, devices and faster kernels. Builds on data and storage."""
