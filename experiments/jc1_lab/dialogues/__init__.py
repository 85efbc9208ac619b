"""Dialogues about facts, written by a grammar from seeds: the suite memory-qa, and what jc1-tiny was trained on."""
