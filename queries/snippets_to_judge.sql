-- One row is one snippet that only the judge of docstrings can still keep out of the pool. `place`
-- gives the order that the snippets would have in it. The rows are in no order: they are staged.
-- `verdicts` is pool_verdicts.sql without a judge.
SELECT
    md5(v.snippet_id || $seed) AS place,
    v.snippet_id AS item_id,
    shown_code(r.imports, r.context, r.code) AS code,
    r.docstring,
    c.docstring_sufficiency
FROM verdicts AS v
JOIN raw_pool AS r ON r.snippet_id = v.snippet_id
JOIN snippet_checks AS c ON c.snippet_id = v.snippet_id
WHERE v.reason IS NULL
