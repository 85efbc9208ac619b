"""Scoring: what a reply is worth, by metrics of our own and from outside."""
