"""Which statements replace an earlier one on the same subject."""
