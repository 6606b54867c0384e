-- One row is one row of a table whose parent is missing: a candidate without its snippet, a score
-- without its candidate. An empty result is the proof that every row can be traced.
SELECT 'candidates' AS table_name, c.candidate_id AS item_id, 'snippet_id' AS missing
FROM candidates AS c
WHERE c.snippet_id NOT IN (SELECT snippet_id FROM raw_pool)
UNION ALL
SELECT 'candidates', c.candidate_id, 'checkpoint_id'
FROM candidates AS c
WHERE c.checkpoint_id NOT IN (SELECT checkpoint_id FROM checkpoints)
UNION ALL
SELECT 'aspect_scores', a.item_id, 'candidate_id'
FROM aspect_scores AS a
WHERE a.item_kind = 'candidate' AND a.item_id NOT IN (SELECT candidate_id FROM candidates)
UNION ALL
SELECT 'selected', s.candidate_id, 'candidate_id'
FROM selected AS s
WHERE s.candidate_id NOT IN (SELECT candidate_id FROM candidates)
UNION ALL
SELECT 'instructions', i.candidate_id, 'candidate_id'
FROM instructions AS i
WHERE i.candidate_id NOT IN (SELECT candidate_id FROM candidates)
ORDER BY table_name, item_id, missing
