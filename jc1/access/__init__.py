"""Who may reach JC1, and from where."""
