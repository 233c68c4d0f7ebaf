"""What Prometheus and Alertmanager are told, as code: targets, recording rules, alerts and who hears of them."""
