-- One row is one snippet that only the judge of docstrings can still keep out of the pool, at
-- positions $start (included) to $stop (excluded). `unjudged` are the rows of pool.sql without a
-- judge.
SELECT u.snippet_id AS item_id, r.code, r.docstring, c.docstring_sufficiency
FROM unjudged AS u
JOIN raw_pool AS r ON r.snippet_id = u.snippet_id
JOIN snippet_checks AS c ON c.snippet_id = u.snippet_id
WHERE u.position >= $start::BIGINT AND u.position < $stop::BIGINT
ORDER BY item_id
