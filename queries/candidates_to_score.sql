-- One row is one parsed candidate of an iteration that a scorer reads, at places $start (included)
-- to $stop (excluded) of their order. The candidates of a snippet follow each other, so that an
-- engine computes the snippet, which stands at the start of their prompts, only once.
SELECT c.candidate_id AS item_id, r.code, c.problem, c.solution
FROM candidates AS c
JOIN raw_pool AS r ON r.snippet_id = c.snippet_id
WHERE c.iteration = $iteration AND c.parse_status = 'ok'
QUALIFY
    row_number() OVER (ORDER BY c.snippet_id, c.candidate_id)
    BETWEEN $start::BIGINT + 1 AND $stop::BIGINT
ORDER BY c.snippet_id, item_id
