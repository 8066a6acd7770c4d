"""The operator: the shell around the rollout core in a cluster. Watches, looks, acts, records; decides nothing."""
