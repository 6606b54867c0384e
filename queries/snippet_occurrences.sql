-- One row is one place where a function text was found.
SELECT snippet_id, source, path, line, num_lines, repo, license
FROM extracted
WHERE reject IS NULL
ORDER BY snippet_id, source, path, line
