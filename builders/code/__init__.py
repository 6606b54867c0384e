"""What is read off code without running it.

Functions, outline, lexer, tokens, bound names, MinHash; words of prose; fenced blocks, and whether
a text parses.
"""

__all__ = ["bound_names", "compiled", "fences", "functions", "lexer", "minhash", "syntax", "tokens", "words"]
