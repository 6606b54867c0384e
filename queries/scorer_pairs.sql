-- One row is one teacher pair that a scorer is fine-tuned on (split train, set aside for it) or measured on (validation).
SELECT t.sample_id, r.code, r.license, t.problem, t.solution
FROM teacher_samples AS t
JOIN raw_pool AS r ON r.snippet_id = t.snippet_id
WHERE t.split = $split AND (t.is_for_scorer OR t.split <> 'train')
ORDER BY t.sample_id
