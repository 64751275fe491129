"""Measure where the fast answer about a random defense is wrong; docs/deep-questions.md says what was found."""
