"""What tabs share: the live row, fragments, plots, controls, presets."""
