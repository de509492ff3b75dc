"""How a model leaves: release folder, graph, card, push. Foreign checkpoints come in here.

Imports zoo/.
"""
