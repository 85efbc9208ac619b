"""Sinks: where a sweep is reported: its folder, its report, MLflow."""
