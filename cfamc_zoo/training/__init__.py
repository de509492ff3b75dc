"""How an encoder is made: recipes, crops, objectives, adversaries, the loop, checkpoints.

Imports zoo/.
"""
