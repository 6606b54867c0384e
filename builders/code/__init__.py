"""What is read off code without running it: functions, outline, lexer, tokens, bound names, MinHash."""
