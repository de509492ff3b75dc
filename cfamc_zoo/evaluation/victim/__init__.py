"""The attacked model: its exact answers, a quicker copy to search on, batches that fit.

Imports arguments.py of evaluation/ alone.
"""
