-- One row is how many teacher samples and candidates have digits. Fixed weights are stored with
-- these numbers; no digit is read for them. An item is answered for all aspects or for none, so one
-- aspect counts them.
SELECT
    count(*) FILTER (item_kind = 'teacher') AS num_teacher,
    count(*) FILTER (item_kind = 'candidate') AS num_candidates
FROM aspect_scores
WHERE aspect = 'consistency'
