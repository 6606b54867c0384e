-- One row is one place where a function text was found; archives and rows of data may hold one file twice.
SELECT snippet_id, source, path, line, num_lines, repo, license
FROM extracted
WHERE reject IS NULL
QUALIFY row_number() OVER (PARTITION BY snippet_id, source, path, line ORDER BY repo, license, line) = 1
ORDER BY snippet_id, source, path, line
