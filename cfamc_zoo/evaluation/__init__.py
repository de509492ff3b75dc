"""How good an encoder is: attacks, heads, what was measured and reasons to doubt it.

Rooms: victim (the attacked model), attacks, heads, reports. Imports zoo/.
"""
