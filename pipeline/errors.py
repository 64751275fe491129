"""What users get wrong, as one exception."""


class BadInput(ValueError):
    """Something the user gave cannot work: one line with the value, what was expected and what to do. Exit code 2."""
