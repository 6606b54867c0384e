-- One row is one snippet that the teacher was asked about and whose answer gave no sample. It is
-- kept with the status of its answer as the reason, so that nothing is dropped silently. The text
-- of the answer and what is wrong with it, in words, stand in unusable_answers.
SELECT
    'teacher' AS stage,
    NULL::INTEGER AS iteration,
    NULL::VARCHAR AS selection,
    'snippet' AS item_kind,
    p.snippet_id AS item_id,
    coalesce(u.status, 'teacher_answer_unusable') AS reason,
    NULL::DOUBLE AS value,
    NULL::DOUBLE AS threshold
FROM pool AS p
LEFT JOIN unusable_answers AS u ON u.snippet_id = p.snippet_id
WHERE
    p.position < $num_snippets
    AND p.snippet_id NOT IN (SELECT t.snippet_id FROM teacher_samples AS t)
ORDER BY item_id, reason
