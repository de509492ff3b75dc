"""Running a release without torch, in ONNX Runtime.

Imports release/ and network/. Only exporter.py needs torch.
"""
