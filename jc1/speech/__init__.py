"""Hearing and speaking: what turns recordings into text, and text into recordings."""
