"""Spaces: the settings that a sweep may try, and the order in which it tries them."""
