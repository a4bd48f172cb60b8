"""Export a run's best model to ONNX and check the result. Builds on inference, runs, model, data and metrics."""
