-- One row is one hit of a benchmark, at $min_strength or more, on an item that a published table
-- still holds. An empty result is the proof that what is published is clean.
SELECT 'pool' AS table_name, p.snippet_id AS item_id, c.benchmark, c.task_id, c.strength
FROM pool AS p
JOIN contamination AS c ON c.item_id = p.snippet_id AND c.item_kind = 'snippet'
WHERE c.strength >= $min_strength::FLOAT
UNION ALL
SELECT 'instructions', i.candidate_id, c.benchmark, c.task_id, c.strength
FROM instructions AS i
JOIN contamination AS c ON c.item_id = i.candidate_id AND c.item_kind = 'candidate'
WHERE c.strength >= $min_strength::FLOAT
UNION ALL
SELECT 'selected', s.candidate_id, c.benchmark, c.task_id, c.strength
FROM selected AS s
JOIN contamination AS c ON c.item_id = s.candidate_id AND c.item_kind = 'candidate'
WHERE c.strength >= $min_strength::FLOAT
ORDER BY table_name, item_id, benchmark, task_id, strength
