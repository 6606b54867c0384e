-- One row is one evaluated task that the training set is not clean of: how many of the instructions
-- resemble it, and the strongest hit. Every hit counts that decontamination keeps, also those that
-- were too weak to leave an instruction out. What a model makes of these tasks and of the others is
-- compared, so that a gain that comes from the resemblance is seen.
SELECT c.benchmark, c.task_id, count(DISTINCT c.item_id) AS num_items, max(c.strength) AS strength
FROM contamination AS c
JOIN instructions AS i ON i.candidate_id = c.item_id
WHERE
    c.item_kind IN ('candidate', 'teacher')
    AND (c.benchmark, c.task_id) IN (SELECT e.benchmark, e.task_id FROM evaluations AS e)
GROUP BY c.benchmark, c.task_id
ORDER BY c.benchmark, c.task_id
