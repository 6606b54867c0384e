-- One row is one stage of one iteration where distinct items in differ from distinct items out plus
-- items rejected. Rejects with several reasons count once. An empty result is the proof that
-- nothing was dropped silently. $stages names the stages that are complete, such as
-- selected/1/default; NULL means all.
WITH rejected AS (
    SELECT stage, iteration, selection, count(DISTINCT item_id) AS num_items
    FROM rejects
    GROUP BY stage, iteration, selection
),
final AS (
    SELECT DISTINCT c.iteration
    FROM instructions AS i
    JOIN candidates AS c ON c.candidate_id = i.candidate_id
),
finished AS (
    SELECT
        'pool' AS stage,
        NULL::INTEGER AS iteration,
        NULL::VARCHAR AS selection,
        (SELECT count(*) FROM snippet_checks) AS num_in,
        (SELECT count(*) FROM pool) AS num_out
    WHERE EXISTS (SELECT 1 FROM pool)
    UNION ALL
    SELECT
        'teacher',
        NULL,
        NULL,
        (SELECT count(*) FROM pool WHERE position < $num_teacher_snippets),
        count(*)
    FROM teacher_samples
    WHERE $num_teacher_snippets IS NOT NULL
    HAVING count(*) > 0
    UNION ALL
    SELECT 'candidates', iteration, NULL, count(*), count(*) FILTER (parse_status = 'ok')
    FROM candidates
    GROUP BY iteration
    UNION ALL
    SELECT
        'scored',
        c.iteration,
        NULL,
        count(*) FILTER (c.parse_status = 'ok'),
        count(s.candidate_id)
    FROM candidates AS c
    LEFT JOIN scored AS s ON s.candidate_id = c.candidate_id
    WHERE c.iteration IN (SELECT DISTINCT iteration FROM scored)
    GROUP BY c.iteration
    UNION ALL
    SELECT
        'selected',
        s.iteration,
        s.selection,
        (SELECT count(*) FROM scored AS c WHERE c.iteration = s.iteration),
        count(*)
    FROM selected AS s
    GROUP BY s.iteration, s.selection
    UNION ALL
    SELECT 'instructions', f.iteration, NULL, count(*), (SELECT count(*) FROM instructions)
    FROM scored AS s
    JOIN final AS f ON f.iteration = s.iteration
    GROUP BY f.iteration
)
SELECT
    f.stage,
    f.iteration,
    f.selection,
    f.num_in,
    f.num_out,
    coalesce(r.num_items, 0) AS num_rejected
FROM finished AS f
LEFT JOIN rejected AS r
    ON
        r.stage = f.stage
        AND r.iteration IS NOT DISTINCT FROM f.iteration
        AND r.selection IS NOT DISTINCT FROM f.selection
WHERE
    f.num_in <> f.num_out + coalesce(r.num_items, 0)
    AND (
        $stages::VARCHAR[] IS NULL
        OR list_contains(
            $stages::VARCHAR[],
            if(f.stage = 'instructions', f.stage, concat_ws('/', f.stage, f.iteration, f.selection))
        )
    )
ORDER BY f.stage, f.iteration, f.selection
