"""Scoring: what a reply is worth, by metrics of our own and scorers from outside."""
