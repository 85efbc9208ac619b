"""Parts of a page that tabs share: the log, the live row, the story of a reply, controls, presets, plots."""
