-- One row is one snippet that candidates may be written for, with its text, at places $start
-- (included) to $stop (excluded) among the free ones, in the order of their positions. A snippet is
-- free when no teacher sample is about it, and it does not stand at the first $num_asked positions:
-- the teacher was asked about those, also where its answer was of no use. The rows are in no order:
-- they are staged by position.
WITH free AS (
    SELECT
        p.snippet_id,
        p.position,
        row_number() OVER (ORDER BY p.position, p.snippet_id) - 1 AS place
    FROM pool AS p
    ANTI JOIN teacher_samples AS t ON t.snippet_id = p.snippet_id
    WHERE p.position >= $num_asked::BIGINT
)
SELECT f.position, f.snippet_id, shown_code(r.imports, r.context, r.code) AS code
FROM free AS f
JOIN raw_pool AS r ON r.snippet_id = f.snippet_id
WHERE f.place >= $start::BIGINT AND f.place < $stop::BIGINT
