"""Clients that are measured beside ours: each labels N texts at a server and prints one line of JSON."""
