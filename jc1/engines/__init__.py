"""Engines: what turns a prompt into tokens. `base` holds the seam, `create` picks one by name.

Knows the list of engines. Knows nothing about requests, memory or presets.
"""
