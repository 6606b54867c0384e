"""What is read off code without running it.

Functions, outline, lexer, tokens, bound names, MinHash; fenced blocks, and whether a text parses.
"""

__all__ = ["bound_names", "compiled", "fences", "functions", "minhash", "syntax", "tokens"]
