"""Patches of foreign packages: each with its version, its upstream issue, and a test that tells when it may go."""
