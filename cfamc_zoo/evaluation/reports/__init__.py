"""Measurements as pages: templates in pages/, charts, facts in words.

Imports what was measured; nothing that measures imports it but for writing the page.
"""
