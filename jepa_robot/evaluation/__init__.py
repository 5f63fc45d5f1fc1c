"""Episodes in a task, success rates with intervals, and baselines."""
