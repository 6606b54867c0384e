-- One row is one scored candidate of the final generation, with its place in the order in which the
-- instructions look at candidates: best score first. The first step of instruction_verdicts.sql.
WITH leaked AS (
    SELECT item_id, max(strength) AS strength
    FROM contamination
    WHERE item_kind = 'candidate'
    GROUP BY item_id
)
SELECT
    s.candidate_id,
    s.snippet_id,
    c.text_hash,
    s.score,
    l.strength,
    coalesce(l.strength >= $min_strength::FLOAT, false) AS is_leaked,
    row_number() OVER (ORDER BY s.score DESC, s.expected_score DESC, s.candidate_id) AS place
FROM scored AS s
JOIN candidates AS c ON c.candidate_id = s.candidate_id
LEFT JOIN leaked AS l ON l.item_id = s.candidate_id
WHERE s.iteration = $iteration
