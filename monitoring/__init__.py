"""The metrics exporter, Prometheus rules and Grafana dashboards."""
