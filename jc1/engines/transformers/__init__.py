"""The embedded engine: Hugging Face models in this process."""
