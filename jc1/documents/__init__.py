"""Documents: read, cut into parts that memory recalls one by one, and stored as records."""
