"""Long-term memory: records of an owner, found again by meaning and by words, each with a receipt."""
