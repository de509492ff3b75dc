"""Ordinary edits of images: their table, and how far they move vectors.

Imports files of evaluation/ alone.
"""
