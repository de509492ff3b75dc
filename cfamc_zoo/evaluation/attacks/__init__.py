"""One file an attack, the table of them in choice.py, and what they share.

Imports victim/.
"""
