-- One row is the number of teacher samples that serve as the contrast to candidates. The plan of
-- their scores is made from it.
SELECT count(*) AS num_items
FROM teacher_samples
WHERE split = 'train' AND NOT is_for_scorer
