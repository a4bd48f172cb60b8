"""What runs a model: PyTorch, or ONNX Runtime without PyTorch. Only the module `torch` imports PyTorch."""
