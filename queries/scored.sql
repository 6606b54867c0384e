-- One row is one parsed candidate of an iteration that has all its aspect scores, side by side,
-- with the weighted score that selections start from:
-- Score = sum over aspects of weight times digit (method.md, 2.2). The expected digits stand
-- beside, so that any other weighting is plain arithmetic over the columns of a row.
WITH aspects AS (
    SELECT
        item_id,
        max(score) FILTER (aspect = 'consistency') AS consistency,
        max(score) FILTER (aspect = 'correctness') AS correctness,
        max(score) FILTER (aspect = 'completeness') AS completeness,
        max(score) FILTER (aspect = 'clarity') AS clarity,
        max(score) FILTER (aspect = 'relevance') AS relevance,
        max(score) FILTER (aspect = 'difficulty') AS difficulty,
        max(score) FILTER (aspect = 'parses') AS parses,
        max(score) FILTER (aspect = 'lint') AS lint,
        max(expected) FILTER (aspect = 'consistency') AS consistency_expected,
        max(expected) FILTER (aspect = 'correctness') AS correctness_expected,
        max(expected) FILTER (aspect = 'completeness') AS completeness_expected,
        max(expected) FILTER (aspect = 'clarity') AS clarity_expected,
        max(expected) FILTER (aspect = 'relevance') AS relevance_expected,
        max(expected) FILTER (aspect = 'difficulty') AS difficulty_expected,
        max(expected) FILTER (aspect = 'parses') AS parses_expected,
        max(expected) FILTER (aspect = 'lint') AS lint_expected
    FROM aspect_scores
    WHERE item_kind = 'candidate'
    GROUP BY item_id
),
weighting AS (
    SELECT
        max(weight) FILTER (aspect = 'consistency') AS consistency,
        max(weight) FILTER (aspect = 'correctness') AS correctness,
        max(weight) FILTER (aspect = 'completeness') AS completeness,
        max(weight) FILTER (aspect = 'clarity') AS clarity,
        max(weight) FILTER (aspect = 'relevance') AS relevance,
        max(weight) FILTER (aspect = 'difficulty') AS difficulty,
        max(weight) FILTER (aspect = 'parses') AS parses,
        max(weight) FILTER (aspect = 'lint') AS lint
    FROM aspect_weights
    WHERE iteration = $iteration AND weights = $weights
)
SELECT
    c.candidate_id,
    c.iteration,
    c.snippet_id,
    a.consistency,
    a.correctness,
    a.completeness,
    a.clarity,
    a.relevance,
    a.difficulty,
    a.parses,
    a.lint,
    a.consistency_expected,
    a.correctness_expected,
    a.completeness_expected,
    a.clarity_expected,
    a.relevance_expected,
    a.difficulty_expected,
    a.parses_expected,
    a.lint_expected,
    round(
        w.consistency * a.consistency
        + w.correctness * a.correctness
        + w.completeness * a.completeness
        + w.clarity * a.clarity
        + w.relevance * a.relevance
        + w.difficulty * a.difficulty
        + w.parses * a.parses
        + w.lint * a.lint,
        9
    ) AS score,
    round(
        w.consistency * a.consistency_expected
        + w.correctness * a.correctness_expected
        + w.completeness * a.completeness_expected
        + w.clarity * a.clarity_expected
        + w.relevance * a.relevance_expected
        + w.difficulty * a.difficulty_expected
        + w.parses * a.parses_expected
        + w.lint * a.lint_expected,
        6
    ) AS expected_score
FROM candidates AS c
JOIN aspects AS a ON a.item_id = c.candidate_id
CROSS JOIN weighting AS w
WHERE
    c.iteration = $iteration
    AND c.parse_status = 'ok'
    AND a.consistency IS NOT NULL
    AND a.correctness IS NOT NULL
    AND a.completeness IS NOT NULL
    AND a.clarity IS NOT NULL
    AND a.relevance IS NOT NULL
    AND a.difficulty IS NOT NULL
    AND a.parses IS NOT NULL
    AND a.lint IS NOT NULL
ORDER BY c.candidate_id
