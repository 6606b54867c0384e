-- One row is one snippet: how many of its candidates of an iteration, and of the iteration $before
-- it, are a problem with a syntactically valid solution. Whether the synthesizers keep to the form,
-- and how sure that is, is computed from it. The rows are in no order: they are added up.
SELECT
    count(*) FILTER (iteration = $before::INTEGER AND parse_status = 'ok')::DOUBLE AS total_before,
    count(*) FILTER (iteration = $before::INTEGER)::DOUBLE AS num_before,
    count(*) FILTER (iteration = $iteration AND parse_status = 'ok')::DOUBLE AS total,
    count(*) FILTER (iteration = $iteration)::DOUBLE AS num
FROM candidates
WHERE iteration IN ($iteration, $before::INTEGER)
GROUP BY snippet_id
