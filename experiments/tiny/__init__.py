"""jc1-tiny, trained from scratch: its grammar, tokenizer, network, training and measurement."""
