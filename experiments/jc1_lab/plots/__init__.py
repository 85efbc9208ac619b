"""Figures: one look, the plots of a sweep, the live dashboard, and the report that holds them."""
