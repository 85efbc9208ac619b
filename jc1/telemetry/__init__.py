"""Telemetry: finished traces go to a ring of recent ones and to Prometheus."""
