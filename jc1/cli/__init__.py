"""The commands of `jc1`. `main` puts them together; `options` holds what they share."""
