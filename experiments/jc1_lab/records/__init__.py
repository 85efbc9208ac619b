"""What a sweep writes down: items, trials, records, results, and its store. Knows nothing about how they come about."""
