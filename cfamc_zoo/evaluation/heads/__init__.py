"""Heads on frozen features: linear, the paper's, neighbours; fitting and choosing them.

Imports attacks/ and the measuring files of evaluation/.
"""
