"""Predict and evaluate with a checkpoint. Builds on runs, model, data and metrics."""
