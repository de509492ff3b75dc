"""From names to releases: the known models, the Hub, downloads, runs.

Imports release/. No torch.
"""
