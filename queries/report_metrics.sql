-- One row is one measured number of a run with its interval, for `scoder status`. Where the number
-- of the iteration before is known, it has the difference to it with its interval, too. The
-- difference is noise if its interval holds 0.
SELECT
    m.name,
    nullif(m.iteration, -1) AS iteration,
    m.subject,
    m.value,
    m.low,
    m.high,
    m.method,
    m.num_items,
    d.value AS change,
    d.low AS change_low,
    d.high AS change_high,
    CASE
        WHEN d.low <= 0 AND d.high >= 0 THEN 'within noise'
        WHEN d.low > 0 THEN 'higher'
        WHEN d.high < 0 THEN 'lower'
    END AS verdict
FROM metrics AS m
LEFT JOIN metrics AS d
    ON d.name = m.name || '_change' AND d.iteration = m.iteration AND d.subject = m.subject
WHERE NOT ends_with(m.name, '_change')
ORDER BY m.name, m.iteration, m.subject
