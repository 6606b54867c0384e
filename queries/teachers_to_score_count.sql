-- One row: how many teacher samples serve as the contrast to candidates.
SELECT count(*) AS num_items FROM teacher_samples WHERE split = 'train' AND NOT is_for_scorer
