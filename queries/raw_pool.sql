-- One row is one distinct function text: its first occurrence in the order of source, path and
-- line, of those with a licence if there are any. It is generated if all files that have it are.
-- `extracted` are the functions of one range of ids: many small sorts need less memory than one.
-- The rows are in no order: whoever reads the ranges one after the other sorts each.
SELECT
    snippet_id,
    'python' AS language,
    name,
    code,
    signature,
    docstring,
    license,
    license_source,
    num_lines,
    length(code)::INTEGER AS num_chars,
    is_method,
    is_async,
    imports,
    context,
    bool_and(is_generated) OVER (PARTITION BY snippet_id) AS is_generated
FROM extracted
WHERE reject IS NULL
QUALIFY
    row_number() OVER (
        PARTITION BY snippet_id
        ORDER BY license = 'unknown', source, path, license, line
    ) = 1
