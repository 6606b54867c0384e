-- One row is one item that a published table holds although a benchmark leaks into it at $min_strength or more.
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
