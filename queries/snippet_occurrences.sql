-- One row is one place where a function text was found. Archives and rows of data may hold one file
-- twice: such a place counts once.
SELECT
    snippet_id,
    source,
    path,
    line,
    num_lines,
    repo,
    license,
    license_source,
    license_score::FLOAT AS license_score
FROM extracted
WHERE reject IS NULL
QUALIFY
    row_number() OVER (
        PARTITION BY snippet_id, source, path, line
        ORDER BY repo, license, line
    ) = 1
ORDER BY snippet_id, source, path, line
