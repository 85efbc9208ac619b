"""Sweeps: from a plan to records, from records to what may be said of them."""
