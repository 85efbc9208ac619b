"""jc1-tiny, trained from scratch: its tokenizer, network, training and measurement."""
