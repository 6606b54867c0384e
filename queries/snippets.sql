-- One row is one snippet of the pool that the teacher is asked about, with its text: those at
-- positions below $num_snippets. The rows are in no order: they are staged by position.
SELECT
    p.snippet_id,
    p.position,
    p.license,
    r.name,
    r.code,
    shown_code(r.imports, r.context, r.code) AS shown,
    r.signature,
    r.docstring
FROM pool AS p
JOIN raw_pool AS r ON r.snippet_id = p.snippet_id
WHERE p.position < $num_snippets::BIGINT
