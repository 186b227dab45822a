"""The error for input that only the user can put right."""


class InputError(ValueError):
    """Bad input from the user; the message says where it is and what to do."""
