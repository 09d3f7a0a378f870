"""Recorded sessions, judged again by another configuration."""
