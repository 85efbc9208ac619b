"""Supersession: a newer statement on the same subject replaces the earlier one."""
