"""`make fleet`: docker-compose.yml as processes on many hosts' behalf, while workers die and services restart."""
