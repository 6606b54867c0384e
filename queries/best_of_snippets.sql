-- One row is one clean candidate with a good score, and whether it is accepted. Candidates are
-- looked at in their order, `weighed.place`. One is accepted when its snippet has fewer than
-- $max_per_snippet accepted ones and no accepted one has its text. So when a text loses against an
-- equal one, the next candidate of its snippet moves up. `snippet_place` is the place among the
-- candidates of the snippet that are no duplicates, and NULL for a duplicate. Selections and
-- instructions share this step: `weighed` is selection_weighed.sql or instruction_weighed.sql.
--
-- Looking at one candidate after the other would be slow. So we go in rounds, over the undecided
-- ones. A round accepts a candidate when it is the first undecided one of its text, and no more
-- candidates of its snippet stand before it than its snippet may still have: whatever becomes of
-- those, it will be accepted. Then it drops the candidates whose text or snippet is settled. The
-- first undecided candidate is always accepted, so the rounds end.
WITH RECURSIVE numbered AS (
    SELECT
        place,
        min(place) OVER (PARTITION BY snippet_id) AS snippet,
        min(place) OVER (PARTITION BY text_hash) AS same_text
    FROM weighed
    WHERE NOT is_leaked AND score >= $min_score
),
rounds AS (
    SELECT place, snippet, same_text, $max_per_snippet::BIGINT AS room, NULL::BOOLEAN AS is_accepted
    FROM numbered
    UNION ALL
    SELECT
        place,
        snippet,
        same_text,
        room - num_taken AS room,
        CASE WHEN is_taken THEN true WHEN is_taken_text OR num_taken = room THEN false END
    FROM (
        SELECT
            place,
            snippet,
            same_text,
            room,
            is_taken,
            bool_or(is_taken) OVER (PARTITION BY same_text) AS is_taken_text,
            count(*) FILTER (is_taken) OVER (PARTITION BY snippet) AS num_taken
        FROM (
            SELECT
                place,
                snippet,
                same_text,
                room,
                place = min(place) OVER (PARTITION BY same_text)
                AND row_number() OVER (PARTITION BY snippet ORDER BY place) <= room AS is_taken
            FROM rounds
            WHERE is_accepted IS NULL
        )
    )
),
filled AS (
    SELECT snippet, max(place) AS last_place
    FROM rounds
    WHERE is_accepted
    GROUP BY snippet
    HAVING count(*) = $max_per_snippet
)
SELECT
    r.place,
    r.is_accepted,
    CASE
        WHEN r.is_accepted OR r.place > f.last_place
            THEN row_number() OVER (
                PARTITION BY r.snippet, r.is_accepted OR coalesce(r.place > f.last_place, false)
                ORDER BY r.place
            )
    END AS snippet_place
FROM rounds AS r
LEFT JOIN filled AS f ON f.snippet = r.snippet
WHERE r.is_accepted IS NOT NULL
