"""What a card claims, measured again: each check a file, their table, and what came out.

It stands on the rooms that measure and that make releases, and only the door stands on it.
"""
