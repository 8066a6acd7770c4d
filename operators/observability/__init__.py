"""What people look at and are woken by: alert rules and dashboards over the metrics of every plane. Manifests are made of them."""
