-- One row is one item of the contrast fit: its aspect scores side by side, and whether the teacher
-- wrote it. The fit of the weights reads it: it looks for aspects that tell teacher from candidate.
-- An item that lacks an aspect is left out.
WITH items AS (
    SELECT a.item_id, a.item_kind, a.aspect, a.score
    FROM aspect_scores AS a
    JOIN candidates AS c ON c.candidate_id = a.item_id
    WHERE a.item_kind = 'candidate' AND c.iteration = $iteration
    UNION ALL
    SELECT a.item_id, a.item_kind, a.aspect, a.score
    FROM aspect_scores AS a
    WHERE a.item_kind = 'teacher'
)
SELECT
    item_id,
    item_kind = 'teacher' AS is_teacher,
    max(score) FILTER (aspect = 'consistency') AS consistency,
    max(score) FILTER (aspect = 'correctness') AS correctness,
    max(score) FILTER (aspect = 'completeness') AS completeness,
    max(score) FILTER (aspect = 'clarity') AS clarity,
    max(score) FILTER (aspect = 'relevance') AS relevance,
    max(score) FILTER (aspect = 'difficulty') AS difficulty,
    max(score) FILTER (aspect = 'parses') AS parses,
    max(score) FILTER (aspect = 'lint') AS lint
FROM items
GROUP BY item_id, item_kind
HAVING count(DISTINCT aspect) = 8
ORDER BY item_id
