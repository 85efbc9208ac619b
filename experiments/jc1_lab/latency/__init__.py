"""Latency: load put on a pipeline or a server, and how long requests take under it."""
