"""One file a command, imported when it is called.

Each holds a function of its own name, which app.py lists.
"""
