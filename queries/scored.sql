-- One row is one parsed candidate of an iteration that has all its aspect scores, side by side,
-- with the weighted score that selections start from:
-- Score = sum over aspects of weight times digit (method.md, 2.2).
SELECT
    c.candidate_id,
    c.iteration,
    c.snippet_id,
    max(a.score) FILTER (a.aspect = 'consistency') AS consistency,
    max(a.score) FILTER (a.aspect = 'correctness') AS correctness,
    max(a.score) FILTER (a.aspect = 'completeness') AS completeness,
    max(a.score) FILTER (a.aspect = 'clarity') AS clarity,
    max(a.score) FILTER (a.aspect = 'relevance') AS relevance,
    max(a.score) FILTER (a.aspect = 'difficulty') AS difficulty,
    max(a.score) FILTER (a.aspect = 'parses') AS parses,
    max(a.score) FILTER (a.aspect = 'lint') AS lint,
    round(list_sum(list(w.weight * a.score ORDER BY a.aspect)), 9) AS score,
    round(list_sum(list(w.weight * a.expected ORDER BY a.aspect)), 6) AS expected_score
FROM candidates AS c
JOIN aspect_scores AS a ON a.item_id = c.candidate_id AND a.item_kind = 'candidate'
JOIN aspect_weights AS w
    ON
        w.aspect = a.aspect
        AND w.iteration = c.iteration
        AND w.weights = $weights
WHERE c.iteration = $iteration AND c.parse_status = 'ok'
GROUP BY c.candidate_id, c.iteration, c.snippet_id
HAVING count(DISTINCT a.aspect) = (
    SELECT count(*)
    FROM aspect_weights AS w
    WHERE w.iteration = $iteration AND w.weights = $weights
)
ORDER BY c.candidate_id
