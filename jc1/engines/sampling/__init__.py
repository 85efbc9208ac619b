"""How a token is drawn: the filters in numpy and in torch, and beams."""
