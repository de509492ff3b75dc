"""Nearest images and near-duplicates among the vectors that `embed` wrote.

torch and ONNX Runtime only where a query is an image.
"""
