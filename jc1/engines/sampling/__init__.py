"""Choosing tokens: the filters in numpy and in torch, and beam search."""
