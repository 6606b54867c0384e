"""What is read off code without running it.

Functions, outline, lexer, tokens, bound names, MinHash.
"""

__all__ = ["bound_names", "compiled", "functions", "minhash", "tokens"]
