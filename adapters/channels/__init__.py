"""Messengers."""
