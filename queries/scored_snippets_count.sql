-- One row: how many snippets of an iteration have a scored candidate.
SELECT count(DISTINCT snippet_id) AS num_snippets FROM scored WHERE iteration = $iteration
