"""What tabs share: the log of messages and its Markdown, the live row, fragments, plots, controls, presets."""
