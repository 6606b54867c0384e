-- One row is one item of the contrast fit: its digits in the order of $aspects, and whether the
-- teacher wrote it. The fit of the weights reads it: it looks for aspects that tell teacher from
-- candidate. An item that lacks an aspect is left out.
WITH items AS (
    SELECT a.item_id, a.item_kind, a.aspect, a.score
    FROM aspect_scores AS a
    JOIN candidates AS c ON c.candidate_id = a.item_id
    WHERE a.item_kind = 'candidate' AND c.iteration = $iteration
    UNION ALL
    SELECT a.item_id, a.item_kind, a.aspect, a.score
    FROM aspect_scores AS a
    WHERE a.item_kind = 'teacher'
),
digits AS (
    SELECT item_id, item_kind, aspect, max(score) AS digit
    FROM items
    WHERE list_contains($aspects::VARCHAR[], aspect)
    GROUP BY item_id, item_kind, aspect
)
SELECT
    item_id,
    item_kind = 'teacher' AS is_teacher,
    list(digit ORDER BY list_position($aspects::VARCHAR[], aspect), aspect) AS digits
FROM digits
GROUP BY item_id, item_kind
HAVING count(*) = len($aspects)
ORDER BY item_id
