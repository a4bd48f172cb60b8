"""Training a classifier from configuration to run folder. Stands on trainer, inference, runs and what they stand on."""
