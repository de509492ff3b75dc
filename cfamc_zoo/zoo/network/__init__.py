"""What a model is: its sizes as plain data, its layers, a head on top of it.

No files and no downloads. Imports no other room.
"""
