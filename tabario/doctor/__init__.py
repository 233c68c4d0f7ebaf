"""Examines a deployment part by part, and says how to mend each fault. Leaves no trace."""
