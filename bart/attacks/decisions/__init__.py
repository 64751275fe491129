"""Attack by decisions alone: the first class of a draw, and nothing else of the model."""
