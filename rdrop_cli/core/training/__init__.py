"""Train a classifier from configuration to run folder. Builds on trainer, inference, runs and the parts below them."""
