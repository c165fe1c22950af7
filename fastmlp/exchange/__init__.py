"""Models for other programs: ONNX, PyTorch, safetensors."""
