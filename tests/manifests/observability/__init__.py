"""Alert rules, dashboards and what is scraped: judged by promtool and by a real Prometheus."""
