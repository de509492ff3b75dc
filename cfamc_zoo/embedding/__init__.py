"""Images to vectors: inputs, decoding ahead of the model, files that resume.

Imports zoo/. torch only where its back end is asked for.
"""
