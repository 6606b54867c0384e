-- One row is one snippet of the pool at positions $start (included) to $stop (excluded; NULL for
-- the end), with its text: what prompts are made from.
SELECT p.snippet_id, p.position, p.license, r.name, r.code, r.signature, r.docstring
FROM pool AS p
JOIN raw_pool AS r ON r.snippet_id = p.snippet_id
WHERE p.position >= $start::BIGINT AND ($stop::BIGINT IS NULL OR p.position < $stop::BIGINT)
ORDER BY p.position, p.snippet_id
