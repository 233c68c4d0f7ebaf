"""What the exporter reads: one source a file."""
