-- One row is one item of the contrast fit: its digit in every aspect, and whether the teacher wrote
-- it. The fit of the weights reads it: it looks for aspects that tell teacher from candidate. An
-- item that lacks an aspect is left out. The candidates are those whose scores the plan names as
-- its input.
WITH digits AS (
    SELECT
        item_id,
        item_kind,
        max(score) FILTER (aspect = 'consistency') AS consistency,
        max(score) FILTER (aspect = 'correctness') AS correctness,
        max(score) FILTER (aspect = 'completeness') AS completeness,
        max(score) FILTER (aspect = 'clarity') AS clarity,
        max(score) FILTER (aspect = 'relevance') AS relevance,
        max(score) FILTER (aspect = 'difficulty') AS difficulty,
        max(score) FILTER (aspect = 'parses') AS parses,
        max(score) FILTER (aspect = 'lint') AS lint
    FROM aspect_scores
    WHERE item_kind IN ('teacher', 'candidate')
    GROUP BY item_id, item_kind
)
SELECT
    item_id,
    item_kind = 'teacher' AS is_teacher,
    consistency,
    correctness,
    completeness,
    clarity,
    relevance,
    difficulty,
    parses,
    lint
FROM digits
WHERE
    consistency IS NOT NULL
    AND correctness IS NOT NULL
    AND completeness IS NOT NULL
    AND clarity IS NOT NULL
    AND relevance IS NOT NULL
    AND difficulty IS NOT NULL
    AND parses IS NOT NULL
    AND lint IS NOT NULL
ORDER BY item_id
