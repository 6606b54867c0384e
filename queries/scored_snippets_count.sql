-- One row is the number of snippets of an iteration that have a scored candidate.
SELECT count(DISTINCT snippet_id) AS num_snippets
FROM scored
WHERE iteration = $iteration
