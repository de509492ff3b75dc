"""What a model is and where it comes from.

Rooms: network, images, release, onnx, catalogue. Imports no room beside it: all others use it.
"""
