-- One row is one distinct function text: its first occurrence in the order of source, path and
-- line. Only ids from $low (included) to $high (excluded): many small sorts need less memory than
-- one.
SELECT
    snippet_id,
    'python' AS language,
    name,
    code,
    signature,
    docstring,
    license,
    num_lines,
    length(code)::INTEGER AS num_chars,
    is_method,
    is_async
FROM extracted
WHERE reject IS NULL AND snippet_id >= $low AND snippet_id < $high
QUALIFY row_number() OVER (PARTITION BY snippet_id ORDER BY source, path, license, line) = 1
ORDER BY snippet_id
