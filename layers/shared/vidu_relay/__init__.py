"""Vidu Relay: paid video generation as a dependable, event-driven AWS service."""
