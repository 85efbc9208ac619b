"""A model on another server, asked over HTTP."""
