-- One row is one training pair of a synthesizer: the clean teacher samples of a split and, for
-- split train, the candidates that a selection kept in the given iterations.
WITH leaked AS (
    SELECT item_id
    FROM contamination
    WHERE item_kind = 'teacher' AND strength >= $min_strength::FLOAT
),
pairs AS (
    SELECT t.sample_id AS item_id, 'teacher' AS origin, t.snippet_id, t.problem, t.solution
    FROM teacher_samples AS t
    WHERE t.split = $split AND t.sample_id NOT IN (SELECT item_id FROM leaked)
    UNION ALL
    SELECT s.candidate_id, 'iteration-' || s.iteration, c.snippet_id, c.problem, c.solution
    FROM selected AS s
    JOIN candidates AS c ON c.candidate_id = s.candidate_id
    WHERE
        $split = 'train'
        AND s.selection = $selection
        AND list_contains($iterations::INTEGER[], s.iteration)
)
SELECT
    p.item_id,
    p.origin,
    r.license,
    shown_code(r.imports, r.context, r.code) AS code,
    p.problem,
    p.solution
FROM pairs AS p
JOIN raw_pool AS r ON r.snippet_id = p.snippet_id
ORDER BY p.item_id, p.origin
