"""Predicting and evaluating with a checkpoint. Stands on runs, model, data, metrics."""
