-- One row is the number of parsed candidates of an iteration. The plan of their scores is made from
-- it.
SELECT count(*) AS num_items
FROM candidates
WHERE iteration = $iteration AND parse_status = 'ok'
