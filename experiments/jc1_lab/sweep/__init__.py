"""Sweeps: from a plan to rows, from rows to what may be said of them."""
