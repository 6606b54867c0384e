-- One row is one snippet that only the judge of docstrings can still keep out of the pool, in the
-- order that the snippets would have in it. `verdicts` is pool_verdicts.sql without a judge.
WITH standing AS (
    SELECT snippet_id, md5(snippet_id || $seed) AS place
    FROM verdicts
    WHERE reason IS NULL
)
SELECT s.snippet_id AS item_id, r.code, r.docstring, c.docstring_sufficiency
FROM standing AS s
JOIN raw_pool AS r ON r.snippet_id = s.snippet_id
JOIN snippet_checks AS c ON c.snippet_id = s.snippet_id
ORDER BY s.place, item_id
