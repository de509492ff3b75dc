"""Kinds of input, one file each: what lies where, as a stream of items."""
