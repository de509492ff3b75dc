"""A model on disk: config, digests, weights, head, results.

Imports network/. Only loading.py needs torch.
"""
