"""Tracking: sweeps in MLflow and in their folders, and how they are found again."""
