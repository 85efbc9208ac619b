"""Suites: the prompts that settings are measured on, from files, formats of others, or generated."""
