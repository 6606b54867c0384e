-- One row is one item of the contrast fit: its digit in every aspect, its snippet as a number, and
-- whether the teacher wrote it. The fit of the weights reads it: it looks for aspects that tell
-- teacher from candidate. An item that lacks an aspect is left out, and so is a teacher sample that
-- is contaminated. The candidates are those whose scores the plan names as its input.
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
),
leaked AS (
    SELECT item_id
    FROM contamination
    WHERE item_kind = 'teacher' AND strength >= $min_strength::FLOAT
),
snippet_of AS (
    SELECT sample_id AS item_id, 'teacher' AS item_kind, snippet_id
    FROM teacher_samples
    WHERE sample_id NOT IN (SELECT item_id FROM leaked)
    UNION ALL
    SELECT candidate_id, 'candidate', snippet_id
    FROM candidates
)
SELECT
    d.item_id,
    d.item_kind = 'teacher' AS is_teacher,
    dense_rank() OVER (ORDER BY s.snippet_id) AS snippet_number,
    d.consistency,
    d.correctness,
    d.completeness,
    d.clarity,
    d.relevance,
    d.difficulty,
    d.parses,
    d.lint
FROM digits AS d
JOIN snippet_of AS s ON s.item_id = d.item_id AND s.item_kind = d.item_kind
WHERE
    d.consistency IS NOT NULL
    AND d.correctness IS NOT NULL
    AND d.completeness IS NOT NULL
    AND d.clarity IS NOT NULL
    AND d.relevance IS NOT NULL
    AND d.difficulty IS NOT NULL
    AND d.parses IS NOT NULL
    AND d.lint IS NOT NULL
ORDER BY d.item_id
