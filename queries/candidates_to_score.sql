-- One row is one parsed candidate of an iteration that a scorer reads. The rows are in no order:
-- they are staged by snippet, so that the candidates of a snippet follow each other. Then an engine
-- computes the snippet, which stands at the start of their prompts, only once.
SELECT
    c.snippet_id,
    c.candidate_id AS item_id,
    shown_code(r.imports, r.context, r.code) AS code,
    c.problem,
    c.solution
FROM candidates AS c
JOIN raw_pool AS r ON r.snippet_id = c.snippet_id
WHERE c.iteration = $iteration AND c.parse_status = 'ok'
