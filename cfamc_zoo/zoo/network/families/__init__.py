"""Families of networks: what each is as plain data, one file a family and a line of a table.

No torch: `list`, `info` and ONNX `embed` read what is here.
"""
