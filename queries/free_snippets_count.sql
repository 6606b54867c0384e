-- One row is the number of snippets that candidates may be written for: see free_snippets.sql.
SELECT count(*) AS num_snippets
FROM pool AS p
ANTI JOIN teacher_samples AS t ON t.snippet_id = p.snippet_id
WHERE p.position >= $num_asked::BIGINT
