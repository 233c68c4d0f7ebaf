"""Grafana's dashboards as code. The JSON beside it is rendered; provisioning/ tells Grafana where it lies."""
