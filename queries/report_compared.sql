-- One row is how many candidates two selections keep: this one (`verdicts`), another one that is
-- written, and both.
SELECT
    count(v.candidate_id) AS num_ours,
    count(s.candidate_id) AS num_theirs,
    count(*) FILTER (v.candidate_id IS NOT NULL AND s.candidate_id IS NOT NULL) AS num_both
FROM (SELECT candidate_id FROM verdicts WHERE reason IS NULL) AS v
FULL JOIN (
    SELECT candidate_id
    FROM selected
    WHERE iteration = $iteration AND selection = $selection
) AS s
    ON s.candidate_id = v.candidate_id
