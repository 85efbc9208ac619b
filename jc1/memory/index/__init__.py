"""One owner's records made searchable: vectors, words, ranking."""
