"""jc1-tiny-vision: drawings with questions, a tower that learns to see them, jc1-tiny's language half, and figures."""
