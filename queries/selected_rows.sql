-- One row is one candidate of a named selection with its texts, best first: what is published.
SELECT
    s.candidate_id,
    s.snippet_id,
    s.rank,
    s.score,
    s.influence,
    c.problem,
    c.solution,
    shown_code(r.imports, r.context, r.code) AS code,
    r.license
FROM selected AS s
JOIN candidates AS c ON c.candidate_id = s.candidate_id
JOIN raw_pool AS r ON r.snippet_id = s.snippet_id
WHERE s.iteration = $iteration AND s.selection = $selection
ORDER BY s.rank, s.candidate_id
