-- One row is one checkpoint of one run, in the order of its steps. Who asks a model opens these.
SELECT
    checkpoint_id,
    role,
    iteration,
    step,
    is_final,
    is_adapter,
    base_model,
    base_revision,
    location,
    learning_rate
FROM checkpoints
WHERE role = $role AND iteration IS NOT DISTINCT FROM $iteration::INTEGER
ORDER BY step, checkpoint_id
