"""What a deployment tunes: policy files, their schema, and their compilation to a LockdownPlan."""
