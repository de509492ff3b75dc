"""From any image to the model's input: decoding, colour, size. The one definition of it.

Imports network/ for the sizes. No torch.
"""
