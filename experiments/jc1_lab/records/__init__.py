"""What a sweep writes down: items, trials, rows, results. Knows nothing about how they come about."""
