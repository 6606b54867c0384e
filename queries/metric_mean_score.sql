-- One row is one snippet: the sum and the number of the scores of its candidates of an iteration,
-- and of the iteration $before it. Both are weighed by the same $weights: the fitted ones change
-- from iteration to iteration, and a difference between two scales says nothing. Whether the
-- synthesizers improve, and how sure that is, is computed from it. Decimal numbers add up to the
-- same in any order. The rows are in no order.
WITH scores AS (
    SELECT
        snippet_id,
        iteration,
        (
            ($weights).consistency * consistency
            + ($weights).correctness * correctness
            + ($weights).completeness * completeness
            + ($weights).clarity * clarity
            + ($weights).relevance * relevance
            + ($weights).difficulty * difficulty
            + ($weights).parses * parses
            + ($weights).lint * lint
        )::DECIMAL(18, 9) AS score
    FROM scored
    WHERE iteration IN ($iteration, $before::INTEGER)
)
SELECT
    coalesce(sum(score) FILTER (iteration = $before::INTEGER), 0)::DOUBLE AS total_before,
    count(*) FILTER (iteration = $before::INTEGER)::DOUBLE AS num_before,
    coalesce(sum(score) FILTER (iteration = $iteration), 0)::DOUBLE AS total,
    count(*) FILTER (iteration = $iteration)::DOUBLE AS num
FROM scores
GROUP BY snippet_id
