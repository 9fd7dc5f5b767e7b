"""What the workflow says when it is given something that it cannot use."""


class InputError(Exception):
    """Bad input. The message says what was found, what was expected, where, and what to do."""
