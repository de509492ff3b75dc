"""The door: flags to one library call to one result. output.py alone prints.

Imports every room; no room imports it.
"""
