-- One row: how many parsed candidates of an iteration a scorer reads.
SELECT count(*) AS num_items FROM candidates WHERE iteration = $iteration AND parse_status = 'ok'
