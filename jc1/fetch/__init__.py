"""Fetching what a request names by its address, so that no request reaches what only this machine may."""
