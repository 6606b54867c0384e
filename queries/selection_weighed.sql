-- One row is one scored candidate of an iteration, weighed as a named selection weighs it, with its
-- place in the order in which selections look at candidates: best score first. The first step of
-- selection_verdicts.sql.
WITH leaked AS (
    SELECT item_id, max(strength) AS strength
    FROM contamination
    WHERE item_kind = 'candidate'
    GROUP BY item_id
),
weighed AS (
    SELECT
        candidate_id,
        snippet_id,
        difficulty,
        round(
            ($weights).consistency * consistency
            + ($weights).correctness * correctness
            + ($weights).completeness * completeness
            + ($weights).clarity * clarity
            + ($weights).relevance * relevance
            + ($weights).difficulty * difficulty
            + ($weights).parses * parses
            + ($weights).lint * lint,
            9
        ) AS score,
        round(
            ($weights).consistency * consistency_expected
            + ($weights).correctness * correctness_expected
            + ($weights).completeness * completeness_expected
            + ($weights).clarity * clarity_expected
            + ($weights).relevance * relevance_expected
            + ($weights).difficulty * difficulty_expected
            + ($weights).parses * parses_expected
            + ($weights).lint * lint_expected,
            6
        ) AS expected_score
    FROM scored
    WHERE iteration = $iteration
)
SELECT
    w.candidate_id,
    w.snippet_id,
    c.text_hash,
    w.difficulty,
    w.score,
    w.expected_score,
    l.strength,
    coalesce(l.strength >= $min_strength::FLOAT, false) AS is_leaked,
    row_number() OVER (ORDER BY w.score DESC, w.expected_score DESC, w.candidate_id) AS place
FROM weighed AS w
JOIN candidates AS c ON c.candidate_id = w.candidate_id
LEFT JOIN leaked AS l ON l.item_id = w.candidate_id
