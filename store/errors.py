"""The one exception type of this project; everything else is a built-in."""


class ContractError(ValueError):
    """Data or a plan that breaks a contract. The message says what failed, the values, and what to do."""
