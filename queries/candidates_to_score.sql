-- One row is one parsed candidate of an iteration that a scorer reads. The candidates of a snippet
-- follow each other, so that an engine computes the snippet, which stands at the start of their
-- prompts, only once. The rows are staged in this order, and read shard by shard.
SELECT c.candidate_id AS item_id, r.code, c.problem, c.solution
FROM candidates AS c
JOIN raw_pool AS r ON r.snippet_id = c.snippet_id
WHERE c.iteration = $iteration AND c.parse_status = 'ok'
ORDER BY c.snippet_id, item_id
